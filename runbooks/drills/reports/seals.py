"""A page's seal: which report a file shows, and the hash of the file's own bytes without the seal. Pure.

The seal lies inside the file between two marks, in a room that counts as empty for the hash. So every other
byte is covered, and nothing can be put before or behind (a seal that covered only an attachment would stay
valid when somebody changes what is visible: measured on a PDF).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from runbooks.drills.reports.envelope import PAGE, REPORT, Opened, seal, unseal
from runbooks.drills.reports.errors import RefusedReportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEAL_BEGINS, SEAL_ENDS = b"yiyun-seal-begins:", b":yiyun-seal-ends"
REPORT_BEGINS, REPORT_ENDS = b"yiyun-report-begins:", b":yiyun-report-ends"
FILL = b" "


def room(size: int = 0) -> bytes:
    """An empty room for a seal: of `size` bytes where a file's offsets must not move."""
    return SEAL_BEGINS + FILL * size + SEAL_ENDS


def enclosed(report: bytes) -> bytes:
    """A report's envelope between its marks."""
    return REPORT_BEGINS + report + REPORT_ENDS


def sealed_page(page: bytes, report: Opened, key: Ed25519PrivateKey, more: Mapping[str, Any]) -> bytes:
    """The file with its seal in its room. Raises ValueError when the room is too small.

    `more`: what the seal says beside the report's digest and the file's hash (media type, language, parts).
    """
    before, space, after = _parted(page)
    named = {"schema": PAGE.schema, "report_sha256": report.digest, "sha256": _hash(before, after), **more}
    made = seal(named, key, PAGE)
    if space and len(made) > len(space):
        raise ValueError(f"a seal of {len(made)} bytes does not fit into {len(space)}")
    return before + made.ljust(len(space), FILL) + after


def check_page(data: bytes, key: Ed25519PublicKey) -> tuple[Opened, Opened]:
    """The report that a file shows, and the seal, both verified.

    Raises RefusedReportError naming the check: `seal` (no seal, or several), those of `unseal`, `page` (the
    file was changed), `pairing` (the report inside is not the one that was sealed).
    """
    before, space, after = _parted(data)
    seen = unseal(space.rstrip(FILL), key, PAGE)
    if seen.report["sha256"] != _hash(before, after):
        raise RefusedReportError("page", "the file was changed after it was sealed")
    report = unseal(_between(data, REPORT_BEGINS, REPORT_ENDS)[1], key, REPORT)
    if report.digest != seen.report["report_sha256"]:
        raise RefusedReportError("pairing", "the report inside is not the one that was sealed")
    return report, seen


def is_page(data: bytes) -> bool:
    """Whether a file claims to have a seal."""
    return SEAL_BEGINS in data


def _parted(data: bytes) -> tuple[bytes, bytes, bytes]:
    return _between(data, SEAL_BEGINS, SEAL_ENDS)


def _between(data: bytes, begins: bytes, ends: bytes) -> tuple[bytes, bytes, bytes]:
    if data.count(begins) != 1 or data.count(ends) != 1:
        raise RefusedReportError("seal", f"{data.count(begins)} marks {begins.decode()} instead of one")
    first, last = data.index(begins) + len(begins), data.index(ends)
    if last < first:
        raise RefusedReportError("seal", "its marks are in the wrong order")
    return data[:first], data[first:last], data[last:]


def _hash(before: bytes, after: bytes) -> str:
    return hashlib.sha256(before + after).hexdigest()
