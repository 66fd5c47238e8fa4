"""Reports in a row: each names the one before it, so that none can be taken out or slipped in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.drills.reports.errors import RefusedReportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbooks.drills.reports.envelope import Opened

FIRST = "0" * 64
"""What the first report names as the one before it."""


@dataclass(frozen=True)
class Head:
    """The newest report, as noted away from the reports: without it a cut-off tail is invisible."""

    seq: int
    digest: str


def links_of(previous: Head | None) -> dict[str, object]:
    """`seq` and `prev_sha256` of the report that follows a head; of the first one after None."""
    return {"seq": 1, "prev_sha256": FIRST} if previous is None else _after(previous)


def check_chain(reports: Sequence[Opened], anchored: Head | None = None) -> Head | None:
    """The head of a whole chain, in any order given.

    Raises RefusedReportError naming the check: `fork` (two reports with one number), `gap` (a number is
    missing), `link` (a report names another before it), `head` (older than, or other than, `anchored`).
    """
    by_number: dict[int, Opened] = {}
    for opened in reports:
        number = int(opened.report["seq"])
        other = by_number.setdefault(number, opened)
        if other.digest != opened.digest:
            raise RefusedReportError("fork", f"two reports have the number {number}")
    head: Head | None = None
    for number in range(1, max(by_number, default=0) + 1):
        if number not in by_number:
            raise RefusedReportError("gap", f"report {number} is missing")
        opened = by_number[number]
        if opened.report["prev_sha256"] != links_of(head)["prev_sha256"]:
            raise RefusedReportError("link", f"report {number} does not follow report {number - 1}")
        head = Head(number, opened.digest)
    if anchored is not None and (head is None or head.seq < anchored.seq):
        raise RefusedReportError("head", f"report {anchored.seq} was noted elsewhere and is missing here")
    if anchored is not None and by_number[anchored.seq].digest != anchored.digest:
        raise RefusedReportError("head", f"report {anchored.seq} is not the one that was noted elsewhere")
    return head


def _after(previous: Head) -> dict[str, object]:
    return {"seq": previous.seq + 1, "prev_sha256": previous.digest}
