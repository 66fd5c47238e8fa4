"""Which transactions belong to a moment: the set is known before anything is replayed.

By time a transaction belongs to it when it was committed by then, and so was everything it may depend on. The
order of a log is not enough: of 3585 transactions of a busy group 150 stood behind one that was committed
after them, all of them independent (measured). Clocks that differ never tear a transaction from
what it needs: its own effective time is then the later one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yiyun_backup import binlog
from yiyun_backup.binlog import Transaction
from yiyun_backup.errors import BadInputError, DamageError
from yiyun_backup.gtids import Gathered, GtidSet, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from yiyun_backup.segments import Segment

MICRO = 1_000_000
NEVER = 1 << 62


@dataclass(frozen=True)
class Moment:
    """What a restore is to reach: one of the three; none of them is the newest state there is."""

    at: datetime | None = None
    gtids: GtidSet | None = None
    before: tuple[Source, int] | None = None

    @property
    def is_newest(self) -> bool:
        """Whether everything there is belongs to it."""
        return self.at is None and self.gtids is None and self.before is None

    def __str__(self) -> str:
        if self.at is not None:
            return self.at.isoformat()
        if self.before is not None:
            return f"before {self.before[0]}:{self.before[1]}"
        return "the given set" if self.gtids is not None else "the newest state"


@dataclass(frozen=True)
class Wanted:
    """The answer. `gtids`: of the log alone; `upto`: how many segments have to be read for it."""

    gtids: GtidSet
    upto: int
    beyond: GtidSet = field(default_factory=GtidSet)
    """Everything that the stream holds and the moment does not: no base may contain any of it."""


class Effective:
    """Effective times of transactions in the order of a log, file by file."""

    def __init__(self) -> None:
        self._floor = 0
        self._first = 0
        self._latest: list[int] = []
        """The latest effective time up to each place of the file."""
        self._gap = 0

    def file(self) -> None:
        """Another file begins: it may depend on all of those before."""
        self._floor = max(self._floor, self._gap, self._latest[-1] if self._latest else 0)
        self._first, self._latest, self._gap = 0, [], 0

    def left_out(self) -> None:
        """A segment was not read, since all of it is from after the moment."""
        self._gap = NEVER

    def of(self, transaction: Transaction) -> int:
        """Microseconds since 1970."""
        if not self._latest:
            self._first = transaction.sequence
        latest = self._latest[-1] if self._latest else 0
        # Places that are not here: left out, or held by the stream before this session.
        self._latest += [max(latest, self._gap)] * (transaction.sequence - self._first - len(self._latest))
        self._gap = 0
        place = transaction.after - self._first
        needed = self._latest[min(place, len(self._latest) - 1)] if self._latest and place >= 0 else 0
        found = max(transaction.committed_us, needed, self._floor)
        self._latest.append(max(found, self._latest[-1] if self._latest else 0))
        return found


def wanted(moment: Moment, segments: Sequence[Segment], read: Callable[[Segment], bytes]) -> Wanted:
    """Which transactions of a stream belong to a moment. `read`: the log of a segment.

    Raises BadInputError for what the segments do not cover.
    """
    if not segments:
        raise BadInputError("no log was stored", hint="yiyun backup list")
    if moment.at is not None:
        return _by_time(moment.at, segments, read)
    if moment.before is not None:
        return _before(moment.before, segments, read)
    everything = _all(segments)
    if moment.gtids is None:
        return Wanted(everything, len(segments))
    upto = max((n for n, s in enumerate(segments, 1) if s.set & moment.gtids), default=0)
    return Wanted(everything & moment.gtids, upto, everything - moment.gtids)


def _by_time(at: datetime, segments: Sequence[Segment], read: Callable[[Segment], bytes]) -> Wanted:
    until = int(at.timestamp() * MICRO)
    covered = max(int(s.last_us) for s in segments)
    if until > covered:
        text = f"{at.isoformat()} is not covered: the log ends at {_time(covered)}"
        raise BadInputError(text, hint="a moment before that, or none for the newest state")
    earliest = int(segments[0].first_us)
    if until < earliest:
        raise BadInputError(f"{at.isoformat()} is not covered: the log begins at {_time(earliest)}")
    first = next(n for n, s in enumerate(segments) if int(s.last_us) > until or n == len(segments) - 1)
    found, times, upto = Gathered(_all(segments[:first])), Effective(), first
    for number, segment in enumerate(segments[first:], first + 1):
        if int(segment.first_us) > until:
            if segment.head:
                times.file()
            times.left_out()
            continue
        for transaction in transactions(segment, read, times):
            if times.of(transaction) <= until:
                found.add(transaction.source, transaction.number)
                upto = number
    gtids = found.frozen()
    return Wanted(gtids, upto, _all(segments) - gtids)


def _before(
    gtid: tuple[Source, int], segments: Sequence[Segment], read: Callable[[Segment], bytes]
) -> Wanted:
    """In the order of the log: what stands before it."""
    for number, segment in enumerate(segments):
        if gtid not in segment.set:
            continue
        found = Gathered(_all(segments[:number]))
        for transaction in transactions(segment, read):
            if (transaction.source, transaction.number) == gtid:
                gtids = found.frozen()
                return Wanted(gtids, number + 1, _all(segments) - gtids)
            found.add(transaction.source, transaction.number)
    raise BadInputError(f"{gtid[0]}:{gtid[1]} is in no stored log", hint="yiyun backup list")


def transactions(
    segment: Segment, read: Callable[[Segment], bytes], times: Effective | None = None
) -> Iterator[Transaction]:
    """Those of a segment, in order; `times` is told where a file begins."""
    log = read(segment)
    if segment.head and times is not None:
        times.file()
    for piece in binlog.pieces(lambda at, n: log[at : at + n], 0, len(log)):
        if isinstance(piece, Transaction):
            yield piece


def must_reach(base: GtidSet, passed: GtidSet, found: Wanted) -> GtidSet:
    """The whole set that a restore must reach from a base. `passed`: what the stream has passed by then.

    Raises DamageError for a base from after the moment, and for a hole, naming it.
    """
    if later := base & found.beyond:
        raise DamageError("base", f"the base holds {len(later)} transaction(s) from after the moment")
    reached = base | found.gtids
    if hole := passed - found.beyond - reached:
        text = f"{len(hole)} transaction(s) between the base and the moment are in no stored log: {hole}"
        raise DamageError("hole", text[:500], "another stream, or a base from after the hole")
    return reached


def _all(segments: Iterable[Segment]) -> GtidSet:
    sets = [s.set for s in segments]
    intervals: dict[Source, list[tuple[int, int]]] = {}
    for them in sets:
        for source, found in them.intervals.items():
            intervals.setdefault(source, []).extend(found)
    return GtidSet.of(intervals)


def _time(micro: int) -> str:
    return datetime.fromtimestamp(micro / MICRO, UTC).isoformat(timespec="milliseconds")
