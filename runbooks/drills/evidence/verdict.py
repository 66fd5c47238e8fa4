"""The verdict of a drill, from what was recorded and nothing else. Pure: anyone can compute it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from runbooks.drills.evidence import lost, rehearsed
from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.observers import clock_of
from runbooks.drills.evidence.timing import Felt, felt, two_writers, was_busy
from runbooks.drills.journal import named
from runbooks.drills.rehearsal import Loss, Rehearsal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from runbooks.drills.evidence.checkers import Findings
    from runbooks.drills.evidence.history import Held, Operation
    from runbooks.drills.evidence.observers import Clock, Sighting
    from runbooks.drills.journal import Event
    from runbooks.drills.model import Drill, Objectives

Word = Literal["passed", "failed", "void", "aborted"]
RULES = 1
"""Of judging and of what a report makes of evidence. It rises whenever the same evidence would give another
report, so that one of an older yiyun is told from one that was altered."""
CLOCK_TOLERANCE_S = 0.5
"""A wall clock that moves more than this against the monotonic one was set, not disciplined."""
REASONS = {
    "no-fault": "no fault was begun",
    "not-busy": "no write was acknowledged in the second before the fault",
    "no-effect": "{fault} had no effect",
    "given-up": "{reason}",
    "clock-jumped": "the controller's clock jumped by {seconds} s: who saw what when cannot be said",
    "other-trouble": "{subject} was lost too, which this drill did not break ({host}: {text})",
    "controller-died": "its controller did not come to the end",
    "evidence-short": "the workload made {made} operations, {kept} are in its history",
    "not-served": "no client was served again",
    "too-slow": "recovered after {rto} s, the objective is {wanted} s",
    "failed-requests": "{count} requests failed, the objective is {wanted}",
    "added-p99": "{added} s were added to the p99, the objective is {wanted} s",
    "violation": "{fault}: {text}",
    "not-undone": "not undone: {reason}",
    "not-whole": "{probe} does not hold afterwards: {text}",
    "no-source": "nothing was read that could be brought back",
    "not-compared": "{what}: nothing was compared",
    "no-line": "the premises did not find the successor",
    "too-far-behind": "the copies were {seconds} s behind, the objective is {wanted} s",
}
"""Why a drill did not pass: code → words. Reports say them in other languages (`reports.words`)."""


@dataclass(frozen=True)
class Reason:
    """One reason why a drill did not pass."""

    code: str
    values: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        return REASONS[self.code].format(**self.values)


@dataclass(frozen=True)
class Evidence:
    """What a drill recorded. Times of the history are the journal's monotonic clock."""

    drill: Drill | Rehearsal | Loss
    events: Sequence[Event]
    history: Sequence[Operation]
    held: Sequence[Held]
    total: int
    """Sum of the bank's accounts before the drill."""
    seen: Sequence[Sighting] = ()
    """What routers, members and monitoring noticed."""
    broken: Collection[str] = ()
    """Whose answers do not count as recovered: the members or hosts that were hit."""


@dataclass(frozen=True)
class Verdict:
    """The word, why, and the figures behind it. `reasons` is empty when it passed."""

    word: Word
    reasons: tuple[Reason, ...]
    findings: Findings
    felt: Felt | None
    """None when no fault was begun."""
    full_strength: float | None
    """Seconds from the fault until the hypothesis held again; None when it did not."""
    rpo: float = 0.0
    """How far back acknowledged writes are missing, in seconds before the fault; 0 when none is."""
    conflicts: int = 0
    """Transactions that members refused meanwhile because another had written the same rows."""
    two_writers: float = 0.0
    """Seconds in which two members acknowledged writes; the platform's clients cannot see its database's."""


def judge(evidence: Evidence) -> Verdict:
    """`void`: it proves nothing. `aborted`: it was given up. Else the objectives and the checkers decide.

    What the checkers found in the data itself is `failed` whatever else happened.
    """
    if isinstance(evidence.drill, Rehearsal):
        return _of_rehearsal(evidence.events, evidence.drill)
    if isinstance(evidence.drill, Loss):
        return _of_loss(evidence, evidence.drill)
    findings = check(evidence.history, evidence.held, evidence.total)
    faults = named(evidence.events, "fault")
    begun = faults[0].mono if faults else None
    left_out = () if evidence.drill.workload.outside else evidence.broken
    undo = _undo(evidence.events)
    spread = evidence.drill.workload.spread
    seen = None if begun is None else felt(evidence.history, begun, undo=undo, broken=left_out, each=spread)
    worst_first: tuple[tuple[Word, tuple[Reason, ...]], ...] = (
        ("void", tuple(_void(evidence, begun))),
        ("aborted", tuple(_aborted(evidence, begun))),
        ("failed", tuple(_failed(evidence, findings, seen))),
    )
    if any(violation.fault != "diverged" for violation in findings.violations):
        worst_first = worst_first[-1:]
    word, reasons = next((told for told in worst_first if told[1]), ("passed", ()))
    whole = _full_strength(evidence.events, begun)
    return Verdict(
        word,
        reasons,
        findings,
        seen,
        whole,
        _rpo(findings, begun),
        _conflicts(evidence.events),
        0.0 if evidence.drill.workload.outside else two_writers(evidence.history),
    )


def _of_rehearsal(events: Sequence[Event], drill: Rehearsal) -> Verdict:
    """By the same words: what differs is `failed` whatever else happened."""
    findings = rehearsed.findings_of(events)
    worst_first: tuple[tuple[Word, list[rehearsed.Told]], ...] = (
        ("void", list(rehearsed.void(events))),
        ("aborted", list(rehearsed.aborted(events, CLOCK_TOLERANCE_S))),
        ("failed", list(rehearsed.failed(events, drill.objectives))),
    )
    if findings.violations:
        worst_first = worst_first[-1:]
    word, told = next((found for found in worst_first if found[1]), ("passed", []))
    reasons = tuple(Reason(code, values) for code, values in told)
    behind = rehearsed.behind_of(events)
    return Verdict(word, reasons, findings, rehearsed.felt_of(events), None, rpo=behind)


def _of_loss(evidence: Evidence, drill: Loss) -> Verdict:
    """Acknowledged writes of the last seconds may be gone: how many seconds is the objective's."""
    events, history = evidence.events, evidence.history
    findings = check(history, evidence.held, evidence.total)
    begun = next((e.mono for e in named(events, rehearsed.BEGUN)), None)
    rpo, rto = _rpo(findings, lost.dead_at(events)), lost.served_again(history, events)
    busy = begun is not None and was_busy(history, begun)
    worst_first: tuple[tuple[Word, list[rehearsed.Told]], ...] = (
        ("void", [] if busy else [("not-busy", {})]),
        ("aborted", list(rehearsed.aborted(events, CLOCK_TOLERANCE_S))),
        ("failed", list(lost.failed_loss(history, events, findings, rpo, drill.objectives))),
    )
    word, told = next((found for found in worst_first if found[1]), ("passed", []))
    reasons = tuple(Reason(code, values) for code, values in told)
    failures = sum(op.outcome != "ok" and begun is not None and op.intended >= begun for op in history)
    seen = Felt(rto, {}, None, None, 0, 0, failures) if begun is not None else None
    return Verdict(word, reasons, findings, seen, None, rpo)


def _undo(events: Sequence[Event]) -> float | None:
    """When the undo began; None when it did not."""
    return next((event.mono for event in named(events, "undoing")), None)


def _void(evidence: Evidence, begun: float | None) -> Iterator[Reason]:
    if begun is None:
        yield Reason("no-fault")
    elif not was_busy(evidence.history, begun):
        yield Reason("not-busy")
    for event in named(evidence.events, "effect"):
        if not event["bites"]:
            yield Reason("no-effect", {"fault": event["fault"]["kind"]})


def _aborted(evidence: Evidence, begun: float | None) -> Iterator[Reason]:
    events = evidence.events
    for event in named(events, "aborted"):
        yield Reason("given-up", {"reason": str(event["reason"])})
    if not named(events, "ended") or not named(events, "collected"):
        yield Reason("controller-died")
    clock = clock_of(events)
    if clock.jumped > CLOCK_TOLERANCE_S:
        yield Reason("clock-jumped", {"seconds": f"{clock.jumped:.1f}"})
    elif begun is not None:
        yield from _other_trouble(evidence, clock, begun)


def _other_trouble(evidence: Evidence, clock: Clock, begun: float) -> Iterator[Reason]:
    """A member that was lost while the fault was in force, and that nobody meant to break."""
    undo = _undo(evidence.events)
    until = evidence.events[-1].mono if undo is None else undo
    told: set[str] = set()
    for sight in evidence.seen:
        meant = any(fault.touches(sight.subject) for fault in evidence.drill.faults)
        bystander = sight.subject and not meant and sight.host not in evidence.broken
        if sight.gone and bystander and begun <= clock.mono(sight.at) < until and sight.subject not in told:
            told.add(sight.subject)
            yield Reason("other-trouble", {"subject": sight.subject, "host": sight.host, "text": sight.text})


def _failed(evidence: Evidence, findings: Findings, seen: Felt | None) -> Iterator[Reason]:
    yield from _missed(evidence.drill.objectives, seen)
    for event in named(evidence.events, "collected"):
        if event["operations"] != len(evidence.history):
            made, kept = str(event["operations"]), str(len(evidence.history))
            yield Reason("evidence-short", {"made": made, "kept": kept})
    for violation in findings.violations:
        yield Reason("violation", {"fault": violation.fault, "text": violation.text})
    undone = [e["order"] for e in named(evidence.events, "undone")]
    for event in named(evidence.events, "not-undone"):
        if event["order"] not in undone:
            yield Reason("not-undone", {"reason": str(event["reason"])})
    for probe in _last_look(evidence.events):
        if not probe["holds"]:
            yield Reason("not-whole", {"probe": probe["probe"], "text": probe["text"]})


def _missed(wanted: Objectives, seen: Felt | None) -> Iterator[Reason]:
    """Objectives that what the clients felt does not meet."""
    if seen is None or seen.rto is None:
        yield Reason("not-served")
        return
    if seen.rto > wanted.rto_s:
        yield Reason("too-slow", {"rto": f"{seen.rto:.2f}", "wanted": f"{wanted.rto_s:.2f}"})
    if wanted.failed is not None and seen.failed > wanted.failed:
        yield Reason("failed-requests", {"count": str(seen.failed), "wanted": str(wanted.failed)})
    added = seen.added_p99
    if wanted.added_p99_s is not None and added is not None and added > wanted.added_p99_s:
        yield Reason("added-p99", {"added": f"{added:.2f}", "wanted": f"{wanted.added_p99_s:.2f}"})


def _last_look(events: Sequence[Event]) -> list[dict[str, str]]:
    after = [event for event in named(events, "observed") if event["when"] == "after"]
    return after[-1]["probes"] if after else [{"probe": "hypothesis", "holds": "", "text": "nobody looked"}]


def _conflicts(events: Sequence[Event]) -> int:
    """From the first look to the last, by the member that saw most: each certifies every transaction.

    A member that began anew meanwhile counts from 0.
    """
    looks: list[dict[str, int]] = [event["counts"] for event in named(events, "conflicts")]
    if not looks:
        return 0
    before, after = looks[0], looks[-1]
    grown = [after[m] - before.get(m, 0) if after[m] >= before.get(m, 0) else after[m] for m in after]
    return max(grown, default=0)


def _rpo(findings: Findings, begun: float | None) -> float:
    lost = [v.at for v in findings.violations if v.fault == "lost" and v.at is not None]
    return max(0.0, begun - min(lost)) if lost and begun is not None else 0.0


def _full_strength(events: Sequence[Event], begun: float | None) -> float | None:
    whole = [
        e for e in named(events, "observed") if e["when"] == "after" and all(p["holds"] for p in e["probes"])
    ]
    return whole[0].mono - begun if whole and begun is not None else None
