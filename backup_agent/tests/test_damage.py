"""The table of damage, played on copies of a region: no wrong restore is called right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from damage_host import may_mount
from damage_kit import flip
from damage_play import FINE, MARKED, NOT, UNMARKED, Outcome, Play, Row, aged_needs, damaged, judged, played
from damage_table import NUMBERS, ROWS
from server_kit import Bed, lacking
from store_kit import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from damage_kit import Blobs

pytestmark = pytest.mark.timeout(900)
real = pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}")
REFUSED = Row("x", lambda _: None, "segment", NOT, "refuse")
ALLOWED = Row("x", lambda _: None, FINE, "is gone", "restore", noted="no index")
ERROR = {"code": "damaged", "message": "", "hint": ""}
WAS_REFUSED = Outcome(1, ["far: segment 3"], [], 1, MARKED, ERROR)
WAS_ALLOWED = Outcome(0, [], ["no index names it"], 0, "whole", {}, "a:1", ["one is gone"], [])


def test_every_number_of_the_table_is_played_and_no_name_twice() -> None:
    assert {row.number for row in ROWS} - {""} == {str(number) for number in NUMBERS}
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.required for row in ROWS)


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (REFUSED, replace(WAS_REFUSED, check_code=0)),
        (REFUSED, replace(WAS_REFUSED, problems=["something else"])),
        (REFUSED, replace(WAS_REFUSED, restore_code=0, differences=[])),
        (REFUSED, replace(WAS_REFUSED, error=ERROR | {"code": "failed"})),
        (replace(REFUSED, codes=frozenset({"key"})), WAS_REFUSED),
        (REFUSED, replace(WAS_REFUSED, left=UNMARKED)),
        (ALLOWED, replace(WAS_ALLOWED, check_code=1)),
        (ALLOWED, replace(WAS_ALLOWED, notes=[])),
        (ALLOWED, replace(WAS_ALLOWED, restore_code=1, error=ERROR)),
        (ALLOWED, replace(WAS_ALLOWED, warnings=[])),
        (ALLOWED, replace(WAS_ALLOWED, warnings=["another"])),
        (ALLOWED, replace(WAS_ALLOWED, differences=["bank.moves is missing"])),
        (replace(ALLOWED, restores=True), WAS_ALLOWED),
    ],
)
def test_what_is_not_as_required_is_told(row: Row, outcome: Outcome) -> None:
    assert judged(REFUSED, WAS_REFUSED) == judged(ALLOWED, WAS_ALLOWED) == []
    assert judged(row, outcome)


@pytest.fixture(scope="module")
def needs(bed: Bed) -> list[Blobs]:
    return aged_needs(bed)


@pytest.fixture
def play(bed: Bed, needs: list[Blobs], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Play]:
    row: Row = request.param
    with damaged(bed, row, needs, tmp_path) as made:
        yield made


def those(*names: str) -> list[Row]:
    return [row for row in ROWS if row.name.startswith(names)]


@real
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_damage_is_found_and_no_wrong_restore_is_called_right(
    bed: Bed, needs: list[Blobs], tmp_path: Path, row: Row
) -> None:
    if row.name.startswith("30") and not may_mount():
        pytest.skip("only root may mount a disk of its own")
    with damaged(bed, row, needs, tmp_path) as play:
        outcome = played(row, play)
    assert judged(row, outcome) == [], outcome


@real
@pytest.mark.parametrize(
    "play", those("20 its", "24 an old", "a segment of nobody"), indirect=True, ids=lambda row: row.name
)
def test_the_newest_state_behind_a_broken_link_is_refused_and_the_last_good_moment_named(play: Play) -> None:
    words = play.words[:-2]
    done = play.agent.run(*words)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (1, "damaged"), done.stdout
    until = error["hint"].rpartition("can be trusted until ")[2]
    done = play.agent.run(*words, "--at", until)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["warnings"]


@real
@pytest.mark.parametrize("play", those("a stream that ended before"), indirect=True)
@pytest.mark.parametrize("broken", [False, True])
def test_the_newest_state_is_not_that_of_a_stream_that_ended_before(play: Play, *, broken: bool) -> None:
    """It comes first by name, and is whole; also when the one that goes on cannot be read to its end."""
    if broken:
        objects = play.agent.regions["far"].folder / "objects" / BUCKET
        flip(max((objects / "log/db-1").iterdir()), 300)
    done = play.agent.run(*play.words[:-2])
    assert (done.returncode != 0) == broken, done.stdout
    if not broken:
        said = json.loads(done.stdout)
        assert (said["stream"], said["gtids"]) == ("db-1", play.bed.executed)
        assert any("db-0 ends long before" in warning for warning in said["warnings"]), said["warnings"]
