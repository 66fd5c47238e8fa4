"""Which transactions belong to a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from backup_kit import OTHER, SOURCE, TIME, head, transaction

from yiyun_backup import binlog
from yiyun_backup.errors import BadInputError, DamageError
from yiyun_backup.gtids import GtidSet, Source
from yiyun_backup.moment import Effective, Moment, must_reach, transactions, wanted
from yiyun_backup.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000


class Logs:
    """Segments whose transactions are (number, seconds after TIME, place it depends on)."""

    def __init__(self, *segments: list[tuple[int, float, int]], heads: tuple[int, ...] = (1,)) -> None:
        self.logs: dict[int, bytes] = {}
        self.segments: list[Segment] = []
        place = 0
        for seq, them in enumerate(segments, 1):
            log = head() if seq in heads else b""
            place = 0 if seq in heads else place
            for number, seconds, after in them:
                place += 1
                log += transaction(number, at=TIME + round(seconds * SECOND), after=after, sequence=place)
            self.logs[seq] = log
            times = [TIME + round(seconds * SECOND) for _, seconds, _ in them]
            self.segments.append(self.manifest(seq, log, min(times), max(times)))
        self.read_for: list[int] = []

    def manifest(self, seq: int, log: bytes, first: int, last: int) -> Segment:
        values = dict.fromkeys(Segment.model_fields, "")
        gtids = binlog.gtids_of(log)
        more = {
            "seq": seq,
            "begins": 0,
            "ends": 0,
            "head_seq": seq if log.startswith(head()) else 1,
            "gtids": str(gtids),
        }
        more |= {"transactions": len(gtids), "first_us": str(first), "last_us": str(last)}
        more |= {"cut_at": datetime.now(UTC), "bytes": len(log), "sealed_bytes": 0}
        return Segment(**(values | more))

    @property
    def read(self) -> Callable[[Segment], bytes]:
        def of(segment: Segment) -> bytes:
            self.read_for.append(segment.seq)
            return self.logs[segment.seq]

        return of

    def at(self, seconds: float) -> set[int]:
        when = datetime.fromtimestamp((TIME + seconds * SECOND) / SECOND, UTC)
        found = wanted(Moment(at=when), self.segments, self.read)
        self.found = found
        return numbers(found.gtids)


def numbers(gtids: GtidSet) -> set[int]:
    return {n for them in gtids.intervals.values() for a, b in them for n in range(a, b + 1)}


def test_a_moment_has_what_was_committed_by_then_whatever_the_order_of_the_log() -> None:
    """3 stands behind 2 and was committed before it: they do not depend on each other."""
    logs = Logs([(1, 0, 0)], [(2, 2.003, 1), (3, 2.001, 1), (4, 2.5, 3)], [(5, 4, 4)])
    assert logs.at(2.001) == {1, 3}
    assert numbers(logs.found.beyond) == {2, 4, 5}
    assert logs.found.upto == 2
    assert logs.at(2.002) == {1, 3}
    assert logs.at(2.003) == {1, 2, 3}
    assert logs.at(2.0) == {1}
    assert logs.at(4) == {1, 2, 3, 4, 5}


def test_only_segments_around_the_moment_are_read() -> None:
    logs = Logs(*([(n, n, n - 1)] for n in range(1, 9)))
    assert logs.at(4.5) == {1, 2, 3, 4}
    assert logs.read_for == [] or max(logs.read_for) <= 5


def test_a_transaction_is_never_torn_from_what_it_needs_by_clocks_that_differ() -> None:
    """2 was committed by a server whose clock is ten seconds ahead; 3 depends on it."""
    logs = Logs([(1, 0, 0), (2, 12, 1), (3, 2, 2), (4, 3, 1), (5, 13, 4)])
    assert logs.at(4) == {1, 4}
    assert logs.at(12) == {1, 2, 3, 4}


def test_what_depends_on_a_segment_from_after_the_moment_is_after_it_too() -> None:
    """The third segment has an early clock: one that needs the second's, one that does not."""
    logs = Logs([(1, 0, 0), (9, 5, 0)], [(2, 12, 1), (3, 13, 1)], [(4, 2, 3), (5, 2, 1), (6, 20, 1)])
    assert logs.at(4) == {1, 5}
    assert 2 not in logs.read_for


def test_gaps_of_what_the_stream_held_before_a_session_are_not_after_the_moment() -> None:
    times = Effective()
    segment = Logs([(1, 0, 0)]).segments[0]
    log = b"".join(
        transaction(n, at=TIME + n, after=after, sequence=place) for n, after, place in ((1, 0, 1), (2, 3, 5))
    )
    assert [times.of(t) for t in transactions(segment, lambda _: log)] == [TIME + 1, TIME + 2]


def test_a_new_file_may_depend_on_all_before_it() -> None:
    logs = Logs([(1, 5, 0)], [(2, 3, 0), (3, 9, 1)], heads=(1, 2))
    assert logs.at(5) == {1, 2}
    assert len(logs.read_for) >= 1
    with pytest.raises(BadInputError):
        logs.at(2)


def test_before_a_transaction_is_what_stands_before_it_in_the_log() -> None:
    logs = Logs([(1, 0, 0), (2, 1, 0)], [(4, 2, 0), (3, 2, 0), (5, 2, 0)])
    found = wanted(Moment(before=(Source(SOURCE), 3)), logs.segments, logs.read)
    assert numbers(found.gtids) == {1, 2, 4}
    assert numbers(found.beyond) == {3, 5}
    with pytest.raises(BadInputError, match="in no stored log"):
        wanted(Moment(before=(Source(SOURCE), 99)), logs.segments, logs.read)


def test_a_given_set_and_the_newest_state() -> None:
    logs = Logs([(1, 0, 0), (2, 1, 0)], [(3, 2, 0)], [(4, 3, 0)])
    found = wanted(Moment(gtids=GtidSet.parse(f"{SOURCE}:1:3")), logs.segments, logs.read)
    assert (numbers(found.gtids), found.upto) == ({1, 3}, 2)
    found = wanted(Moment(), logs.segments, logs.read)
    assert (numbers(found.gtids), found.upto, len(found.beyond)) == ({1, 2, 3, 4}, 3, 0)
    with pytest.raises(BadInputError, match="no log was stored"):
        wanted(Moment(), [], logs.read)


@pytest.mark.parametrize(("seconds", "words"), [(-1, "the log begins at"), (9, "the log ends at")])
def test_a_time_that_is_not_covered_is_an_error_that_says_what_is(seconds: float, words: str) -> None:
    logs = Logs([(1, 0, 0)], [(2, 8, 1)])
    with pytest.raises(BadInputError, match=words):
        logs.at(seconds)


def test_a_base_from_after_the_moment_and_a_hole_are_refused() -> None:
    logs = Logs([(4, 0, 0), (5, 1, 0)], [(6, 2, 0), (7, 3, 0)])
    logs.at(2)
    base = GtidSet.parse(f"{SOURCE}:1-4,{OTHER}:1")
    passed = GtidSet.parse(f"{SOURCE}:1-7")
    assert str(must_reach(base, passed, logs.found)) == f"{SOURCE}:1-6,{OTHER}:1"
    with pytest.raises(DamageError, match=r"1 transaction\(s\) from after the moment"):
        must_reach(GtidSet.parse(f"{SOURCE}:1-7"), passed, logs.found)
    with pytest.raises(DamageError, match=f"in no stored log: {SOURCE}:3") as caught:
        must_reach(GtidSet.parse(f"{SOURCE}:1-2"), passed, logs.found)
    assert caught.value.check == "hole"


def test_places_that_a_session_does_not_hold_count_nothing() -> None:
    """It began in the middle of a file."""
    log = transaction(8, at=TIME + 5, after=40, sequence=50) + transaction(9, at=TIME, after=50, sequence=51)
    times, segment = Effective(), Logs([(1, 0, 0)]).segments[0]
    found = [times.of(t) for t in transactions(segment, lambda _: log)]
    assert found == [TIME + 5, TIME + 5]
