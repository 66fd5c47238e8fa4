"""Run a drill so that it is undone whatever happens, also to the process that runs it.

What undoes a fault is on the disk before the fault. An undo may be carried out again, and where the fault
never happened. `finish_undo` is what the next run, or a timer, does for a controller that died.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from infra.errors import RefusedError, YiyunError
from runbooks.drills.journal import named, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbooks.drills.journal import Event, Journal
    from runbooks.drills.model import Drill, Fault

LOOK_SECONDS = 0.5
"""Between two looks at an estate that is not whole again."""
Order = dict[str, Any]
"""What undoes one fault, as data: any later process can carry it out."""


@dataclass(frozen=True)
class Observation:
    """What one probe of the hypothesis saw."""

    probe: str
    holds: bool
    text: str


class Ground(Protocol):
    """Where a drill takes place: the estate, seen by its faults and probes."""

    def observe(self, probe: str) -> Observation:
        """One look at one probe. Never raises: what cannot be seen does not hold."""
        ...

    def order_for(self, fault: Fault) -> Order:
        """What will undo a fault. Changes nothing."""
        ...

    def ready(self, fault: Fault) -> Callable[[], None]:
        """Do what no client feels; the call that it gives does the rest. Both raise YiyunError."""
        ...

    def bites(self, fault: Fault) -> bool:
        """Whether the fault is in force."""
        ...

    def undo(self, order: Order) -> None:
        """Undo; again, and where there is nothing to undo, too."""
        ...

    def is_undone(self, order: Order) -> bool:
        """Whether nothing of the fault is left."""
        ...

    def hold(self, seconds: float) -> str:
        """Let time pass under load. Returns why the drill must be given up, or an empty string."""
        ...


def run(drill: Drill, ground: Ground, journal: Journal, load: Callable[[], None]) -> None:
    """Hypothesis, method, undo, hypothesis. `load` begins the workload. All that happens is in the journal.

    Raises RefusedError when the hypothesis does not hold before; nothing was done then. A fault that cannot
    be injected, or a reason to give up, is noted (`aborted`) and undone: the verdict is the evidence's.
    """
    if not _observed(drill, ground, journal, "before"):
        raise RefusedError(
            f"{drill.name}: the estate is not as the drill's hypothesis says",
            hint="yiyun status; a drill on a broken estate proves nothing",
        )
    load()
    try:
        for phase in drill.method:
            reason = _inject(phase.faults, ground, journal) or ground.hold(phase.hold_s)
            if reason:
                journal.note("aborted", reason=reason)
                break
    finally:
        finish_undo(unfinished(read_journal(journal.path)), ground, journal)
    _settle(drill, ground, journal)
    journal.note("ended")


def finish_undo(orders: Sequence[Order], ground: Ground, journal: Journal) -> None:
    """Undo in reverse order; every order is tried, and each that failed is noted and then raised together.

    A full disk does not keep from undoing: then the note is missing and `resume` undoes once more.
    """
    failed: list[str] = []
    for order in reversed(orders):
        with contextlib.suppress(OSError):
            journal.note("undoing", order=order)
        try:
            ground.undo(order)
            done = ground.is_undone(order)
        except YiyunError as error:
            done, reason = False, error.message
        else:
            reason = "" if done else "something of it is left"
        with contextlib.suppress(OSError):
            journal.note("undone" if done else "not-undone", order=order, reason=reason)
        failed += [f"{order}: {reason}"] if not done else []
    if failed:
        raise YiyunError(
            "the drill could not be undone: " + "; ".join(failed),
            hint="yiyun drill resume, then yiyun status",
        )


def unfinished(events: Sequence[Event]) -> list[Order]:
    """Orders of a journal whose undo is not noted as done, in the order of their faults. Pure."""
    done = [event["order"] for event in named(events, "undone")]
    return [event["order"] for event in named(events, "will-undo") if event["order"] not in done]


def _inject(faults: Sequence[Fault], ground: Ground, journal: Journal) -> str:
    for fault in faults:
        journal.note("will-undo", order=ground.order_for(fault))
    try:
        acts = [ground.ready(fault) for fault in faults]
        for fault, act in zip(faults, acts, strict=True):
            journal.note("fault", fault=fault.model_dump())
            act()
    except YiyunError as error:
        return f"{' and '.join(f.kind for f in faults)} could not be done: {error.message}"
    for fault in faults:
        bites = ground.bites(fault)
        journal.note("effect", fault=fault.model_dump(), bites=bites)
        if not bites:
            return f"{fault.kind} had no effect"
    return ""


def _settle(drill: Drill, ground: Ground, journal: Journal) -> None:
    began = journal.note("settling").mono
    while not _observed(drill, ground, journal, "after"):
        if time.monotonic() - began > drill.settle_s:
            journal.note("not-settled", seconds=drill.settle_s)
            return
        ground.hold(LOOK_SECONDS)


def _observed(drill: Drill, ground: Ground, journal: Journal, when: str) -> bool:
    seen = [ground.observe(probe) for probe in drill.hypothesis]
    journal.note("observed", when=when, probes=[vars(o) for o in seen])
    return all(o.holds for o in seen)
