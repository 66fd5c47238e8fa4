"""How long a fault was felt: recovery time and gaps, as the clients of the workload saw them. Pure."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.drills.evidence.history import WRITES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runbooks.drills.evidence.history import Operation

TURN_SECONDS = 2.0
BEFORE_SECONDS = 1.0
"""A drill counts only when writes were acknowledged in the last second before the fault."""


@dataclass(frozen=True)
class Felt:
    """Seconds. `rto`: fault → first acknowledgement of a write begun after it by the new way, if any came.

    `gaps`: client → from its last acknowledgement before the fault to its next after it.
    """

    rto: float | None
    gaps: dict[int, float]
    last_before: float | None
    first_after: float | None
    late: int
    """Writes that took longer than `limit` from when the schedule wanted them."""
    refused: int
    """Writes that failed or stayed unknown from the fault on."""
    failed: int = 0
    """Requests that a client saw fail from the fault on: operations of every kind, reads too, that failed or
    stayed unknown, and tries before one that was served."""
    added_p99: float | None = None
    """99th percentile of the wait of what was asked for while the fault was in force, less that before it."""
    added_p99_return: float | None = None
    """The same of what was asked for after the undo began: what the way back costs, on the same machine."""


def felt(
    history: Sequence[Operation],
    fault: float,
    *,
    undo: float | None = None,
    broken: Collection[str] = (),
    each: bool = False,
    limit: float = 1.0,
) -> Felt:
    """What clients felt of a fault at `fault` (seconds), whose undo began at `undo`.

    `broken`: whose answers do not count as recovered. Without any `broken` that answered before (the way is
    the same before and after) the first write counts that was begun after the last that failed while the
    fault was in force, so that a fault which takes a moment to bite is not called over before it began; or
    the longest stall, where that was longer. When there was no such write before the undo, it was the undo
    that helped: then what failed after it counts too. `each`: recovered when every client was served again,
    for clients that go different ways; else when the first was. `limit`: what waits longer is late.
    """
    writes = sorted((op for op in history if op.kind in WRITES), key=lambda op: op.ended)
    good = [op for op in writes if op.outcome == "ok"]
    before = [op.ended for op in good if op.ended <= fault]
    later = [op for op in writes if op.ended > fault]
    end = math.inf if undo is None else undo
    moved = any(op.member in broken for op in good if op.ended <= fault)
    first = _first_after(writes, fault, end, broken, each=each, moved=moved)
    rto = None if first is None else first - fault
    if first is not None and not moved:
        since, until = _longest_stall([op for op in good if op.intended < end], fault, limit)
        if until - since > first - fault:
            rto, first = until - since, until
    return Felt(
        rto=rto,
        gaps=_gaps(good, fault, broken),
        last_before=max(before, default=None),
        first_after=first,
        late=sum(1 for op in later if _wait(op) > limit),
        refused=sum(1 for op in later if op.outcome != "ok"),
        failed=sum(op.tries - (op.outcome == "ok") for op in history if op.ended > fault),
        added_p99=_added(history, fault, fault, end),
        added_p99_return=_added(history, fault, end, math.inf),
    )


def _first_after(
    writes: Sequence[Operation],
    fault: float,
    end: float,
    broken: Collection[str],
    *,
    each: bool,
    moved: bool,
) -> float | None:
    """When the first client, or the last of all, was served again. `writes` in the order of their ends.

    `moved`: the way before the fault is told from the one after it by who answers.
    """
    good = [op for op in writes if op.outcome == "ok"]
    failed = [op.began for op in writes if op.ended > fault and op.outcome != "ok"]

    def served(since: float) -> float | None:
        first: dict[int, float] = {}
        for op in good:
            if op.began >= since and op.member not in broken:
                first.setdefault(op.client if each else 0, op.ended)
        everybody = {op.client for op in writes} if each else {0}
        return max(first.values(), default=None) if first.keys() >= everybody else None

    if moved:
        return served(fault)
    first = served(max([fault, *(began for began in failed if began < end)]))
    return first if first is not None and first <= end else served(max([fault, *failed]))


def _longest_stall(good: Sequence[Operation], fault: float, limit: float) -> tuple[float, float]:
    """Beginning and end of the longest time in which what was served at last had waited for too long.

    One that is felt within `limit` of the fault began with it.
    """
    late = sorted((op.intended, op.ended) for op in good if op.ended > fault and _wait(op) > limit)
    stalls: list[tuple[float, float]] = [(fault, fault)]
    for due, ended in late:
        since = fault if due <= fault + limit else due
        last_since, last_until = stalls[-1]
        if since <= last_until:
            stalls[-1] = (last_since, max(last_until, ended))
        else:
            stalls.append((since, ended))
    return max(stalls, key=lambda stall: stall[1] - stall[0])


def two_writers(history: Sequence[Operation]) -> float:
    """Seconds in which two members acknowledged writes by turns.

    A writer that moves once is one change; changes less than `TURN_SECONDS` apart are two writers at work.
    """
    good = sorted((op for op in history if op.acknowledged and op.member), key=lambda op: op.began)
    changes = [b.began for a, b in itertools.pairwise(good) if a.member != b.member]
    longest = since = 0.0
    for place, moment in enumerate(changes):
        if place == 0 or moment - changes[place - 1] > TURN_SECONDS:
            since = moment
        longest = max(longest, moment - since)
    return longest


def was_busy(history: Sequence[Operation], fault: float) -> bool:
    """Whether writes were acknowledged up to the fault; without, it met nothing and the drill is void."""
    return any(op.acknowledged and fault - BEFORE_SECONDS <= op.ended <= fault for op in history)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed. Raises ValueError of none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rounded(value: float | None) -> float | None:
    """As figures are written down: to the millisecond."""
    return None if value is None else round(value, 3)


def _added(history: Sequence[Operation], fault: float, since: float, until: float) -> float | None:
    served = [op for op in history if op.outcome == "ok"]
    before = [_wait(op) for op in served if op.ended <= fault]
    after = [_wait(op) for op in served if op.ended > fault and since <= max(op.intended, fault) < until]
    return quantile(after, 0.99) - quantile(before, 0.99) if before and after else None


def _wait(op: Operation) -> float:
    return op.ended - op.intended


def _gaps(good: Sequence[Operation], fault: float, broken: Collection[str]) -> dict[int, float]:
    last: dict[int, float] = {}
    gaps: dict[int, float] = {}
    for op in good:
        if op.ended <= fault:
            last[op.client] = op.ended
        elif op.client in last and op.client not in gaps and op.member not in broken:
            gaps[op.client] = op.ended - last[op.client]
    return gaps
