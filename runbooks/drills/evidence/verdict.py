"""The verdict of a drill, from what was recorded and nothing else. Pure: anyone can compute it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.timing import felt, was_busy
from runbooks.drills.journal import named

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from runbooks.drills.evidence.checkers import Findings
    from runbooks.drills.evidence.history import Held, Operation
    from runbooks.drills.evidence.timing import Felt
    from runbooks.drills.journal import Event
    from runbooks.drills.model import Drill

Word = Literal["passed", "failed", "void", "aborted"]


@dataclass(frozen=True)
class Evidence:
    """What a drill recorded. Times of the history are the journal's monotonic clock."""

    drill: Drill
    events: Sequence[Event]
    history: Sequence[Operation]
    held: Sequence[Held]
    total: int
    """Sum of the bank's accounts before the drill."""
    broken: Collection[str] = ()
    """Whose answers do not count as recovered: the members or hosts that were hit."""


@dataclass(frozen=True)
class Verdict:
    """The word, why, and the figures behind it. `reasons` is empty when it passed."""

    word: Word
    reasons: tuple[str, ...]
    findings: Findings
    felt: Felt | None
    """None when no fault was begun."""
    full_strength: float | None
    """Seconds from the fault until the hypothesis held again; None when it did not."""


def judge(evidence: Evidence) -> Verdict:
    """`void`: it proves nothing. `aborted`: it was given up. Else the objectives and the checkers decide."""
    findings = check(evidence.history, evidence.held, evidence.total)
    faults = named(evidence.events, "fault")
    begun = faults[0].mono if faults else None
    left_out = () if evidence.drill.workload.outside else evidence.broken
    seen = None if begun is None else felt(evidence.history, begun, broken=left_out)
    worst_first: tuple[tuple[Word, tuple[str, ...]], ...] = (
        ("void", tuple(_void(evidence, begun))),
        ("aborted", tuple(_aborted(evidence.events))),
        ("failed", tuple(_failed(evidence, findings, seen))),
    )
    for word, reasons in worst_first:
        if reasons:
            return Verdict(word, reasons, findings, seen, _full_strength(evidence.events, begun))
    return Verdict("passed", (), findings, seen, _full_strength(evidence.events, begun))


def _void(evidence: Evidence, begun: float | None) -> Iterator[str]:
    if begun is None:
        yield "no fault was begun"
    elif not was_busy(evidence.history, begun):
        yield "no write was acknowledged in the second before the fault"
    for event in named(evidence.events, "effect"):
        if not event["bites"]:
            yield f"{event['fault']['kind']} had no effect"


def _aborted(events: Sequence[Event]) -> Iterator[str]:
    for event in named(events, "aborted"):
        yield str(event["reason"])
    if not named(events, "ended"):
        yield "its controller did not come to the end"


def _failed(evidence: Evidence, findings: Findings, seen: Felt | None) -> Iterator[str]:
    wanted = evidence.drill.objectives
    if seen is None or seen.rto is None:
        yield "no client was served again"
    elif seen.rto > wanted.rto_s:
        yield f"recovered after {seen.rto:.2f} s, the objective is {wanted.rto_s:.2f} s"
    if seen is not None and wanted.failed is not None and seen.failed > wanted.failed:
        yield f"{seen.failed} requests failed, the objective is {wanted.failed}"
    added = None if seen is None else seen.added_p99
    if wanted.added_p99_s is not None and added is not None and added > wanted.added_p99_s:
        yield f"{added:.2f} s were added to the p99, the objective is {wanted.added_p99_s:.2f} s"
    for violation in findings.violations:
        yield f"{violation.fault}: {violation.text}"
    for event in named(evidence.events, "not-undone"):
        if event["order"] not in [e["order"] for e in named(evidence.events, "undone")]:
            yield f"not undone: {event['reason']}"
    for probe in _last_look(evidence.events):
        if not probe["holds"]:
            yield f"{probe['probe']} does not hold afterwards: {probe['text']}"


def _last_look(events: Sequence[Event]) -> list[dict[str, str]]:
    after = [event for event in named(events, "observed") if event["when"] == "after"]
    return after[-1]["probes"] if after else [{"probe": "hypothesis", "holds": "", "text": "nobody looked"}]


def _full_strength(events: Sequence[Event], begun: float | None) -> float | None:
    whole = [
        e for e in named(events, "observed") if e["when"] == "after" and all(p["holds"] for p in e["probes"])
    ]
    return whole[0].mono - begun if whole and begun is not None else None
