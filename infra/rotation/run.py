"""Carry out rotations: finish what an earlier run left, then what was asked for. Every step may be killed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError, YiyunError
from infra.rotation.rotators import rotator_of
from infra.trust.store import read_ledger, write_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.rotation.catalogue import Entry
    from infra.rotation.model import Phase, Rotator, Values, Work
    from infra.trust.store import Ledger


@dataclass
class Outcome:
    """How the rotation of some secrets of one kind went."""

    kind: str
    names: list[str]
    status: str = "rotated"
    phases: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waiting_until: str | None = None
    resumed: bool = False

    def as_json(self) -> dict[str, Any]:
        """The entry of `rotations` in the JSON contract."""
        return self.__dict__


def rotate(work: Work, entries: Sequence[Entry], every: Sequence[Entry], *, hasten: bool) -> list[Outcome]:
    """Finish unfinished rotations among `every` entry, then rotate `entries`.

    `hasten`: do not wait between phases for those who still use the old one. Raises BadInputError for a kind
    that has no way yet, RefusedError when now is no time, YiyunError when a phase fails (run it again).
    """
    chosen = [(rotator_of(kind), of_kind(entries, kind)) for kind in kinds_of(entries)]
    begun = unfinished(every, work.material().store.ledger())
    touched = [*entries, *(entry for *_, listed in begun for entry in listed)]
    work.notes.begin({host for entry in touched for host in entry.hosts})
    outcomes = [_go_on(work, *open_, hasten=hasten) for open_ in begun]
    finished = {name for outcome in outcomes for name in outcome.names}
    for rotator, listed in chosen:
        for batch in rotator.batches([e for e in listed if e.name not in finished]):
            if batch:
                rotator.precheck(work, batch)
                outcome = Outcome(rotator.kind, [e.name for e in batch])
                outcomes.append(_through(work, rotator, rotator.phases, batch, outcome, hasten=hasten))
    work.notes.keep()
    return outcomes


def plan(entries: Sequence[Entry]) -> list[Outcome]:
    """What `rotate` would do, in order. Pure."""
    return [
        Outcome(
            kind,
            [e.name for e in batch],
            "planned",
            [
                {"name": p.name, "purpose": p.purpose, "touches": list(p.touches), "wait_hours": _hours(p)}
                for p in rotator_of(kind).phases
            ],
        )
        for kind in kinds_of(entries)
        for batch in rotator_of(kind).batches(of_kind(entries, kind))
    ]


def unfinished(every: Sequence[Entry], ledger: Ledger) -> list[tuple[Rotator, str, bool, list[Entry]]]:
    """Rotations that were begun: rotator, phase, whether that was applied, entries. Pure."""
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for entry in every:
        known = ledger.get(entry.name, {})
        if "phase" in known:
            key = (entry.kind, known["phase"], known.get("applied", ""), known.get("batch", ""))
            groups.setdefault(key, []).append(entry)
    return [(rotator_of(kind), phase, bool(done), found) for (kind, phase, done, _), found in groups.items()]


def kinds_of(entries: Sequence[Entry]) -> list[str]:
    """Kinds of the entries, each once."""
    return list(dict.fromkeys(e.kind for e in entries))


def of_kind(entries: Sequence[Entry], kind: str) -> list[Entry]:
    """The entries of a kind."""
    return [e for e in entries if e.kind == kind]


def _go_on(
    work: Work, rotator: Rotator, phase: str, applied: bool, entries: list[Entry], *, hasten: bool
) -> Outcome:
    outcome = Outcome(rotator.kind, [e.name for e in entries], resumed=True)
    if not applied:
        _apply(work, next(p for p in rotator.phases if p.name == phase), entries, outcome)
    return _through(work, rotator, rotator.phases_after(phase), entries, outcome, hasten=hasten)


def _through(
    work: Work,
    rotator: Rotator,
    phases: Sequence[Phase],
    entries: list[Entry],
    outcome: Outcome,
    *,
    hasten: bool,
) -> Outcome:
    for phase in phases:
        until = _may_begin(work, phase, entries)
        if until > datetime.now(UTC) and not hasten:
            outcome.status, outcome.waiting_until = "waiting", until.isoformat(timespec="seconds")
            return outcome
        work.progress(f"{rotator.kind}: {phase.purpose}")
        work.material().store.update(lambda values, phase=phase: _begin(work, values, phase, entries))
        _apply(work, phase, entries, outcome)
    work.material().store.update(lambda values: _end(values, entries))
    return outcome


def _may_begin(work: Work, phase: Phase, entries: Sequence[Entry]) -> datetime:
    now, ledger = datetime.now(UTC), work.material().store.ledger()
    stood = [ledger.get(e.name, {}).get("phase_since") for e in entries]
    return max((datetime.fromisoformat(s) + phase.wait for s in stood if s), default=now)


def _begin(work: Work, values: Values, phase: Phase, entries: Sequence[Entry]) -> None:
    phase.change(work, values, entries)
    ledger, now = read_ledger(values), _now()
    for entry in entries:
        known = ledger.setdefault(entry.name, {})
        known |= {"phase": phase.name, "phase_since": now, "applied": "", "batch": entries[0].name}
    write_ledger(values, ledger)


def _apply(work: Work, phase: Phase, entries: Sequence[Entry], outcome: Outcome) -> None:
    began = time.monotonic()
    work.notes.changing()
    try:
        phase.apply(work, entries)
    except YiyunError as error:
        hint = f"{error.hint}; then run it again: it goes on with this phase".lstrip("; ")
        names = ", ".join(e.name for e in entries)
        raise YiyunError(
            f"{names}: phase {phase.name}: {error.message}", hint=hint, where=error.where
        ) from error
    outcome.phases.append({"name": phase.name, "seconds": round(time.monotonic() - began, 1)})
    work.material().store.update(lambda values: _mark_applied(values, entries))


def _mark_applied(values: Values, entries: Sequence[Entry]) -> None:
    ledger = read_ledger(values)
    for entry in entries:
        ledger[entry.name]["applied"] = "yes"
    write_ledger(values, ledger)


def _end(values: Values, entries: Sequence[Entry]) -> None:
    ledger = read_ledger(values)
    for entry in entries:
        known = ledger[entry.name]
        for key in ("phase", "phase_since", "applied", "batch"):
            known.pop(key, None)
        known |= {"rotated": _now()}
        known.setdefault("since", known["rotated"])
        if entry.name not in values:  # its value is not in the store: a host's own key
            known["since"] = known["rotated"]
    write_ledger(values, ledger)


def _hours(phase: Phase) -> float:
    return phase.wait.total_seconds() / 3600


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def choose(
    every: Sequence[Entry], words: Sequence[str], *, everything: bool, due: Sequence[str] | None
) -> list[Entry]:
    """The entries that names and kinds mean; or all; or those in `due`. Raises BadInputError."""
    if everything:
        return [e for e in every if _has_rotator(e)]
    if due is not None:
        return [e for e in every if e.name in due and _has_rotator(e)]
    names, kinds = {e.name for e in every}, {e.kind for e in every}
    unknown = [w for w in words if w not in names | kinds]
    if unknown:
        raise BadInputError(
            f"no secret or kind {', '.join(unknown)}", hint="yiyun secrets list shows names and kinds"
        )
    if not words:
        raise BadInputError("nothing to rotate was named", hint="a name, a kind, --due or --all")
    return [e for e in every if e.name in words or e.kind in words]


def _has_rotator(entry: Entry) -> bool:
    try:
        rotator_of(entry.kind)
    except BadInputError:
        return False
    return True
