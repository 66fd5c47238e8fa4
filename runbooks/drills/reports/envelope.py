"""A report as signed bytes: canonical JSON (RFC 8785) in a DSSE envelope, Ed25519.

The type is inside what is signed, so no other document of the same key passes for a report (cosign
CVE-2022-35929). What was verified is what is read: there is no second parse of other bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import rfc8785
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import CryptoSigner, SSlibKey  # pyright: ignore[reportPrivateImportUsage]

from runbooks.drills.reports.errors import RefusedReportError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEMA = "yiyun.drill-report/1"


class Kind(NamedTuple):
    """What a signed document is: the type in the envelope, and the schema the document names."""

    payload_type: str
    schema: str


REPORT = Kind("application/vnd.yiyun.drill-report+json", SCHEMA)
PAGE = Kind("application/vnd.yiyun.drill-page+json", "yiyun.drill-page/1")
"""A file that shows a report: says which report, and what the file's bytes are."""


@dataclass(frozen=True)
class Opened:
    """A report whose signature was verified. `digest`: SHA-256 (hex) of what was signed.

    The digest is the report's name in a chain.
    """

    report: dict[str, Any]
    digest: str
    key: str
    """Fingerprint of the key that signed it: SHA-256 (hex) of its 32 bytes."""


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 (hex) of a public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def seal(document: dict[str, Any], key: Ed25519PrivateKey, kind: Kind = REPORT) -> bytes:
    """The envelope's bytes, canonical too. Raises ValueError of NaN and |int| ≥ 2^53: write those as text."""
    public = key.public_key()
    named = SSlibKey.from_crypto(public, keyid=fingerprint(public))
    envelope = Envelope(rfc8785.dumps(document), kind.payload_type, {})
    envelope.sign(CryptoSigner(key, named))
    return rfc8785.dumps(envelope.to_dict())


def unseal(data: bytes, key: Ed25519PublicKey, kind: Kind = REPORT) -> Opened:
    """Verify an envelope with a key the user gives, never with one from the file.

    Raises RefusedReportError naming the check: `form`, `type`, `key`, `signature`, `canonical`, `schema`.
    """
    try:
        envelope = Envelope.from_dict(json.loads(data))
    except (SigningError, KeyError, TypeError, ValueError) as error:
        raise RefusedReportError("form", f"no signed envelope: {error}") from error
    if rfc8785.dumps(envelope.to_dict()) != data:
        raise RefusedReportError("form", "bytes beside the envelope, or an envelope written anew")
    if envelope.payload_type != kind.payload_type:
        raise RefusedReportError("type", f"this is {envelope.payload_type}, not {kind.payload_type}")
    wanted = fingerprint(key)
    if wanted not in envelope.signatures:
        others = ", ".join(envelope.signatures) or "nobody"
        raise RefusedReportError("key", f"signed by {others}, not by {wanted}")
    try:
        envelope.verify([SSlibKey.from_crypto(key, keyid=wanted)], 1)
    except SigningError as error:
        raise RefusedReportError("signature", "the signature does not belong to these bytes") from error
    report = _strict(envelope.payload)
    if rfc8785.dumps(report) != envelope.payload:
        raise RefusedReportError("canonical", "the signed text is not in canonical form")
    if report.get("schema") != kind.schema:
        raise RefusedReportError("schema", f"{report.get('schema')!r} is not {kind.schema}")
    return Opened(report, hashlib.sha256(envelope.payload).hexdigest(), wanted)


def _strict(data: bytes) -> dict[str, Any]:
    """JSON without duplicate keys: two readers must not see two documents."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RefusedReportError("canonical", f"the key {twice[0]} stands twice")
        return dict(pairs)

    try:
        value = json.loads(data, object_pairs_hook=once)
    except (ValueError, UnicodeDecodeError) as error:
        raise RefusedReportError("canonical", f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedReportError("canonical", "no JSON object")
    return value
