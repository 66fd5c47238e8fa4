"""The verdict of a lost region: when the county worked again, what it cost, what the premises did. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks.drills.evidence.history import WRITES
from runbooks.drills.evidence.rehearsed import BEGUN, LATER, LINE, not_down
from runbooks.drills.journal import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbooks.drills.evidence.checkers import Findings
    from runbooks.drills.evidence.history import Operation
    from runbooks.drills.evidence.rehearsed import Told
    from runbooks.drills.journal import Event
    from runbooks.drills.model import Objectives

TOLERATED = frozenset({"lost", "stale"})
"""What the last seconds before a loss may cost; how many is held against the objective."""


def dead_at(events: Sequence[Event]) -> float | None:
    """When the last machine of the region was dead: until then some of them still acknowledged."""
    dead = named(events, "lost-things") or named(events, BEGUN)
    return dead[0].mono if dead else None


def served_again(history: Sequence[Operation], events: Sequence[Event]) -> float | None:
    """Seconds from the loss to the first acknowledged write that was begun by who came after it."""
    begun, later = named(events, BEGUN), named(events, LATER)
    if not begun or not later:
        return None
    first = int(later[0]["first_client"])
    acknowledged = [
        op.ended for op in history if op.kind in WRITES and op.acknowledged and op.client >= first
    ]
    return min(acknowledged) - begun[0].mono if acknowledged else None


def failed_loss(
    history: Sequence[Operation], events: Sequence[Event], findings: Findings, rpo: float, wanted: Objectives
) -> Iterator[Told]:
    """What was not reached, and what is wrong beyond what the last seconds may have cost."""
    rto = served_again(history, events)
    if rto is None:
        yield "not-served", {}
    elif rto > wanted.rto_s:
        yield "too-slow", {"rto": f"{rto:.2f}", "wanted": f"{wanted.rto_s:.2f}"}
    if rpo > wanted.rpo_s:
        yield "too-far-behind", {"seconds": f"{rpo:.1f}", "wanted": f"{wanted.rpo_s:.1f}"}
    for violation in findings.violations:
        if violation.fault not in TOLERATED:
            yield "violation", {"fault": violation.fault, "text": violation.text}
    yield from _of_the_premises(events)
    yield from not_down(events)


def _of_the_premises(events: Sequence[Event]) -> Iterator[Told]:
    """Whether they found the successor, and whether what they held came once."""
    if not named(events, LINE):
        yield "no-line", {}
    compared = named(events, "compared")
    if not any(event["of"] for event in compared):
        yield "not-compared", {"what": "results"}
    for event in compared:
        for problem in event["problems"]:
            yield "violation", {"fault": "differs", "text": f"{event['what']}: {problem}"}
