"""Signed documents: canonical JSON (RFC 8785) in a DSSE envelope, Ed25519.

The document's type is inside what is signed, so that one document never passes for another; what was verified
is what is read.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import CryptoSigner, SSlibKey  # pyright: ignore[reportPrivateImportUsage]

from yiyun_backup.errors import DamageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Document(BaseModel):
    """A document that can be signed. Integers of 2^53 and more are written as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")


D = TypeVar("D", bound=Document)


class Opened(NamedTuple):
    """A document whose signature was verified. `digest`: SHA-256 (hex) of its canonical text, its name."""

    document: Any
    digest: str
    key: str


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 (hex) of a public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def new_key() -> Ed25519PrivateKey:
    """A key to sign with."""
    return Ed25519PrivateKey.generate()


def public_of(seed: str) -> str:
    """The public key, in hexadecimal, of a key given by its 32 bytes in hexadecimal."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).public_key().public_bytes_raw().hex()


def type_of(kind: type[Document]) -> str:
    """The type that is signed with a document: `Segment` → `application/vnd.yiyun.backup-segment+json`."""
    return f"application/vnd.yiyun.backup-{kind.__name__.lower()}+json"


def canonical(document: Document) -> bytes:
    """The text that is signed."""
    return rfc8785.dumps(document.model_dump(mode="json"))


def digest(document: Document) -> str:
    """SHA-256 (hex) of the text that is signed."""
    return hashlib.sha256(canonical(document)).hexdigest()


def sign(document: Document, key: Ed25519PrivateKey) -> bytes:
    """The envelope, on one line."""
    public = key.public_key()
    envelope = Envelope(canonical(document), type_of(type(document)), {})
    envelope.sign(CryptoSigner(key, SSlibKey.from_crypto(public, keyid=fingerprint(public))))
    return rfc8785.dumps(envelope.to_dict())


def verify(data: bytes, kind: type[D], keys: Mapping[str, Ed25519PublicKey], what: str) -> Opened:
    """Open an envelope with one of the keys the user trusts (`fingerprint` → key), never one of its own.

    `what` names it in errors. Raises DamageError with the check `form`, `type`, `key` or `signature`.
    """
    try:
        envelope = Envelope.from_dict(json.loads(data))
    except (SigningError, KeyError, TypeError, ValueError) as error:
        raise DamageError("form", f"{what}: no signed document") from error
    if rfc8785.dumps(envelope.to_dict()) != data:
        raise DamageError("form", f"{what}: bytes beside the signed document")
    if envelope.payload_type != type_of(kind):
        raise DamageError("type", f"{what}: this is {envelope.payload_type}, not {type_of(kind)}")
    signers = [name for name in envelope.signatures if name in keys]
    if not signers:
        others = ", ".join(name[:16] for name in envelope.signatures) or "nobody"
        raise DamageError("key", f"{what}: signed by {others}, whom nobody here trusts")
    try:
        envelope.verify([SSlibKey.from_crypto(keys[signers[0]], keyid=signers[0])], 1)
    except SigningError as error:
        raise DamageError("signature", f"{what}: the signature is not of these bytes") from error
    try:
        document = kind.model_validate_json(envelope.payload)
    except ValidationError as error:
        raise DamageError(
            "form", f"{what}: {error.error_count()} field(s) are not as they should be"
        ) from error
    if canonical(document) != envelope.payload:
        raise DamageError("form", f"{what}: the signed text is not in canonical form")
    return Opened(document, hashlib.sha256(envelope.payload).hexdigest(), signers[0])
