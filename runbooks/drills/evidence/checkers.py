"""What a history must satisfy, whatever was broken meanwhile. Pure.

Claimed: every acknowledged write is there once, nothing is there that got a definite error, appends of one
client keep their order, the bank's total is constant, no read is older than what was acknowledged before it
began, all members hold the same. Not claimed: linearizability or serializability.

The platform is judged by the same rules: its lists are residents, their elements files, and a file that is
not in the store as it was sent is not held (`runbooks.drills.workloads.guests`). Its bank is empty. So is
what comes from the premises: its elements are results (`runbooks.drills.workloads.results`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runbooks.drills.evidence.history import Held, Operation

Fault = Literal["lost", "doubled", "phantom", "disordered", "torn", "stale", "diverged", "differs"]
"""`differs`: something that was brought back is not what its source has."""


@dataclass(frozen=True)
class Violation:
    """One thing that must not be. `at`: seconds into the drill, where it is about one operation."""

    fault: Fault
    text: str
    at: float | None = None


@dataclass(frozen=True)
class Findings:
    """Counts of a history and everything wrong with it."""

    acknowledged: int
    failed: int
    unknown: int
    unknown_stored: int
    """Unknown appends that turned out to be stored."""
    violations: tuple[Violation, ...] = field(default=())

    def count(self, fault: Fault) -> int:
        """How many violations of one sort."""
        return sum(1 for v in self.violations if v.fault == fault)


def check(history: Sequence[Operation], held: Sequence[Held], total: int) -> Findings:
    """Judge a history against what the members held afterwards. `total`: the bank's, before the drill."""
    writes = [op for op in history if op.kind in {"append", "set", "transfer"}]
    stored = {element for listed in held[0].lists.values() for element in listed} if held else set[int]()
    unknown = [op for op in writes if op.outcome == "unknown"]
    return Findings(
        acknowledged=sum(op.acknowledged for op in history),
        failed=sum(op.outcome == "fail" for op in writes),
        unknown=len(unknown),
        unknown_stored=sum(op.kind == "append" and op.value in stored for op in unknown),
        violations=(
            *_same_everywhere(held),
            *(v for member in held for v in _appends(history, member)),
            *(v for member in held for v in _registers(history, member)),
            *_bank(history, held, total),
            *_stale(history),
        ),
    )


def _same_everywhere(held: Sequence[Held]) -> Iterator[Violation]:
    if not held:
        yield Violation("diverged", "no member was read after the drill")
    for other in held[1:]:
        first = held[0]
        if other.gtid_set != first.gtid_set:
            yield Violation("diverged", f"{other.member} was read at another GTID set than {first.member}")
        for what in ("lists", "registers", "total"):
            if getattr(other, what) != getattr(first, what):
                yield Violation("diverged", f"{other.member} and {first.member} differ in {what}")


def _appends(history: Iterable[Operation], held: Held) -> Iterator[Violation]:
    by_target: dict[str, list[Operation]] = {}
    for op in history:
        if op.kind == "append":
            by_target.setdefault(op.target, []).append(op)
    for target, appended in by_target.items():
        found = held.lists.get(target, [])
        times = Counter(found)
        for op in appended:
            where = f"{op.value} of client {op.client} in {target} on {held.member}"
            if op.outcome == "ok" and not times[op.value or 0]:
                yield Violation("lost", f"{where} was acknowledged and is not there", op.ended)
            if op.outcome == "fail" and times[op.value or 0]:
                yield Violation("phantom", f"{where} got the error {op.error} and is there", op.ended)
            if times[op.value or 0] > 1:
                yield Violation("doubled", f"{where} is there {times[op.value or 0]} times", op.ended)
        known = {op.value for op in appended}
        for stranger in sorted(set(found) - {v for v in known if v is not None}):
            yield Violation("phantom", f"{stranger} in {target} on {held.member} was never written")
        yield from _order(appended, found, f"{target} on {held.member}")


def _order(appended: Sequence[Operation], found: Sequence[int], where: str) -> Iterator[Violation]:
    place = {element: index for index, element in enumerate(found)}
    last: dict[int, Operation] = {}
    for op in sorted(appended, key=lambda o: (o.client, o.number)):
        if op.value not in place:
            continue
        before = last.get(op.client)
        if before is not None and place[op.value] < place[before.value or 0]:
            text = f"{op.value} stands before {before.value} of client {op.client} in {where}"
            yield Violation("disordered", text, op.ended)
        last[op.client] = op


def _registers(history: Iterable[Operation], held: Held) -> Iterator[Violation]:
    newest: dict[str, Operation] = {}
    possible: dict[str, set[int]] = {}
    for op in history:
        if op.kind != "set" or op.value is None:
            continue
        if op.outcome != "fail":
            possible.setdefault(op.target, set()).add(op.value)
        if op.outcome == "ok" and (op.target not in newest or (newest[op.target].value or 0) < op.value):
            newest[op.target] = op
    for target, versions in possible.items():
        now, op = held.registers.get(target, 0), newest.get(target)
        if op is not None and now < (op.value or 0):
            text = f"version {op.value} of {target} was acknowledged; {held.member} holds {now}"
            yield Violation("lost", text, op.ended)
        elif now and now not in versions:
            yield Violation("phantom", f"version {now} of {target} on {held.member} was never stored")


def _bank(history: Iterable[Operation], held: Sequence[Held], total: int) -> Iterator[Violation]:
    for op in history:
        if op.kind == "snapshot" and op.outcome == "ok" and op.value != total:
            yield Violation("torn", f"a snapshot of {op.target} saw {op.value} instead of {total}", op.ended)
    for member in held:
        if member.total != total:
            yield Violation("torn", f"{member.member} holds {member.total} instead of {total}")


def _stale(history: Iterable[Operation]) -> Iterator[Violation]:
    """A read must not be older than the newest version, or element of a list, acknowledged before it began.

    Both rise at their one writer. Of the database's lists, which two clients share, nobody reads.
    """
    known = [op for op in history if op.outcome == "ok" and op.kind in {"append", "set", "get"}]
    newest: dict[str, int] = {}
    acknowledged = iter(sorted((op for op in known if op.kind != "get"), key=lambda o: o.ended))
    following = next(acknowledged, None)
    for read in sorted((op for op in known if op.kind == "get"), key=lambda o: o.began):
        while following is not None and following.ended <= read.began:
            newest[following.target] = max(newest.get(following.target, 0), following.value or 0)
            following = next(acknowledged, None)
        wanted = newest.get(read.target, 0)
        if (read.value or 0) < wanted:
            text = f"{read.member or 'somebody'} answered version {read.value} of {read.target}, not {wanted}"
            yield Violation("stale", text, read.began)
