"""GTID sets: MySQL's text in and out, and the arithmetic against plain Python sets."""

from __future__ import annotations

import random

import pytest

from yiyun_backup.gtids import Gathered, GtidError, GtidSet, Source

A, B = "0a000000-0000-0000-0000-000000000001", "0b000000-0000-0000-0000-000000000002"


@pytest.mark.parametrize(
    ("text", "canonical", "count"),
    [
        ("", "", 0),
        (f"{A}:1-5", f"{A}:1-5", 5),
        (f" {A.upper()}:7:1-5:6 ,\n{B}:3", f"{A}:1-7,{B}:3", 8),
        (f"{A}:1-3:nightly:1-2:9,{A}:nightly:3", f"{A}:1-3:nightly:1-3:9", 7),
        (f"{A}:nightly:4", f"{A}:nightly:4", 1),
    ],
)
def test_text_of_mysql_is_read_and_written(text: str, canonical: str, count: int) -> None:
    found = GtidSet.parse(text)
    assert (str(found), len(found), bool(found)) == (canonical, count, count > 0)
    assert GtidSet.parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["x", A, f"{A}:", f"{A}:0", f"{A}:5-3", f"{A}:1-", f"{A}:1-2-3", f"{A}:TA G!:1", f"{A[:-1]}:1"]
)
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(GtidError):
        GtidSet.parse(text)


def plain(them: GtidSet) -> set[tuple[Source, int]]:
    return {(s, n) for s, all_of in them.intervals.items() for a, b in all_of for n in range(a, b + 1)}


def some(rng: random.Random) -> GtidSet:
    gathered = Gathered()
    for _ in range(rng.randrange(60)):
        gathered.add(Source(rng.choice((A, B)), rng.choice(("", "", "t"))), rng.randrange(1, 30))
    return gathered.frozen()


def test_arithmetic_is_that_of_sets() -> None:
    rng = random.Random(7)  # noqa: S311
    for _ in range(400):
        one, two = some(rng), some(rng)
        first, second = plain(one), plain(two)
        assert plain(one | two) == first | second
        assert plain(one - two) == first - second
        assert plain(one & two) == first & second
        assert (one <= two) == (first <= second)
        assert len(one) == len(first)
        assert (one == two) == (first == second)
        assert all((gtid in one) == (gtid in first) for gtid in second)


def test_equal_sets_are_equal_however_they_were_made() -> None:
    gathered = Gathered(GtidSet.parse(f"{A}:1-3"))
    for number in (5, 4, 6, 2):
        gathered.add(Source(A), number)
    assert gathered.frozen() == GtidSet.parse(f"{A}:4-6,{A}:1-3")
    assert GtidSet.parse(f"{A}:1-3") - GtidSet.parse(f"{A}:1-9") == GtidSet()
