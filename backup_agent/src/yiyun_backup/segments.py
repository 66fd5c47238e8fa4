"""A segment: a piece of a member's log as one encrypted object, signed, and linked to the one before.

The object is one line, the signed manifest, and then the log, encrypted to the estate's recipients (age). So
a chain can be checked without a key that opens anything, by whoever may list the objects.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003  pydantic reads it
from typing import TYPE_CHECKING

import pyrage

from yiyun_backup import binlog, signed
from yiyun_backup.errors import DamageError, KeyMissingError
from yiyun_backup.gtids import GtidSet
from yiyun_backup.signed import Document, Opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from pyrage import x25519

LONGEST_MANIFEST = 1 << 20
"""Bytes within which a manifest ends."""
NOBODY = ""
"""`prev` of a stream's first segment."""


class Segment(Document):
    """The manifest. Sizes in bytes, hashes SHA-256 (hex), GTIDs as MySQL writes them."""

    estate: str
    stream: str
    seq: int
    """Counts from 1 and never twice, whatever the source is."""
    prev: str
    """Digest of the manifest before; `NOBODY` for the first."""
    session: str
    """One connection to one source; another one begins a new session."""
    member: str
    """Name of the source."""
    source: str
    """Its server UUID."""
    version: str
    log: str
    """Name of the source's file."""
    begins: int
    ends: int
    """Positions in the source's file."""
    head_seq: int
    """The segment that begins with the head of the file (format description): itself, or one before."""
    held: str
    """What the stream had passed before it, holes included: so a chain can be read from anywhere."""
    hole: str
    """What the source held no more when the session began, and the stream had never seen."""
    gtids: str
    transactions: int
    first_us: str
    last_us: str
    """Earliest and latest commit in it, microseconds since 1970 by the committing servers' clocks."""
    cut_at: datetime
    sha256: str
    bytes: int
    sealed_sha256: str
    sealed_bytes: int

    @property
    def head(self) -> bool:
        """Whether it begins with the head of a file: a session's or a file's first."""
        return self.head_seq == self.seq

    @property
    def set(self) -> GtidSet:
        """The transactions in it."""
        return GtidSet.parse(self.gtids)


def key_of(stream: str, seq: int) -> str:
    """Name of the object; names sort as their numbers do."""
    return f"log/{stream}/{seq:012d}"


@dataclass(frozen=True)
class Seal:
    """What a host needs to write: whom to encrypt to, and its own key to sign with. It can read nothing."""

    recipients: Sequence[x25519.Recipient]
    key: Ed25519PrivateKey


def pack(manifest: Segment, log: bytes, seal: Seal) -> tuple[Segment, bytes]:
    """The manifest with its hashes, and the object."""
    sealed = pyrage.encrypt(log, list(seal.recipients))
    whole = manifest.model_copy(
        update={
            "sha256": hashlib.sha256(log).hexdigest(),
            "bytes": len(log),
            "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
            "sealed_bytes": len(sealed),
        }
    )
    return whole, signed.sign(whole, seal.key) + b"\n" + sealed


def manifest_of(data: bytes, keys: Mapping[str, Ed25519PublicKey], what: str) -> tuple[Opened, int]:
    """The verified manifest at the beginning of an object, and where the log begins. Raises DamageError."""
    end = data.find(b"\n", 0, LONGEST_MANIFEST)
    if end < 0:
        raise DamageError("form", f"{what}: no manifest")
    return signed.verify(data[:end], Segment, keys, what), end + 1


def sealed_of(data: bytes, keys: Mapping[str, Ed25519PublicKey], what: str) -> tuple[Opened, bytes]:
    """The verified manifest of an object, and what is sealed behind it. Raises DamageError."""
    opened, start = manifest_of(data, keys, what)
    manifest: Segment = opened.document
    sealed = data[start:]
    if len(sealed) != manifest.sealed_bytes:
        text = f"{what}: {len(sealed)} bytes, the manifest says {manifest.sealed_bytes}"
        raise DamageError("length", text)
    if hashlib.sha256(sealed).hexdigest() != manifest.sealed_sha256:
        raise DamageError("hash", f"{what}: the bytes are not those that were stored")
    return opened, sealed


def log_of(
    data: bytes,
    keys: Mapping[str, Ed25519PublicKey],
    identities: Iterable[x25519.Identity],
    what: str,
) -> tuple[Opened, bytes]:
    """The verified manifest and the log of an object. Raises DamageError, KeyMissingError."""
    opened, sealed = sealed_of(data, keys, what)
    manifest: Segment = opened.document
    try:
        log = pyrage.decrypt(sealed, list(identities))
    except pyrage.DecryptError as error:
        raise KeyMissingError(f"{what}: no key here opens it") from error
    if hashlib.sha256(log).hexdigest() != manifest.sha256:
        raise DamageError("hash", f"{what}: what was encrypted is not what the manifest says")
    _must_hold(log, manifest, what)
    return opened, log


def _must_hold(log: bytes, manifest: Segment, what: str) -> None:
    """The log's own checksums, and exactly the transactions that the manifest names."""
    try:
        binlog.check(log, checksums=True)
        found = binlog.gtids_of(log)
    except binlog.LogError as error:
        raise DamageError("log", f"{what}: {error}") from error
    if found != manifest.set:
        raise DamageError("log", f"{what}: it holds other transactions than the manifest says")
