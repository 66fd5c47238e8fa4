"""The table of damage (dr-facts, section 5), played on copies of a region: no wrong restore is called right.

Each row says what a check must say of it, and whether a restore may succeed all the same; when it does, what
it made is compared with the source.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import damage_kit as do
import pytest
from damage_kit import Blobs, Place, cut_tail, flip, gone, needs_of, swap
from server_kit import Bed, lacking, program
from store_kit import BUCKET, Region, free_port

from yiyun_backup import server as throwaway
from yiyun_backup.compare import differences, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(900),
]
FINE = ""
NOT = False


@dataclass(frozen=True)
class Row:
    """`found`: words of the check's problem, `FINE` when it must find none.

    `restores`: whether it may; words of a warning when it must say something with it.
    """

    name: str
    damage: Callable[[Place], None]
    found: str
    restores: bool | str


ROWS = (
    Row(
        "1 a byte of what both bases need",
        lambda p: p.flip("data", of=1, both=True),
        "repository",
        NOT,
    ),
    Row(
        "1 a byte of the newest base",
        lambda p: p.flip("data", of=1, both=False),
        "repository",
        "far: ",
    ),
    Row("2 a pack missing", lambda p: gone(p.packs()[0]), "repository", NOT),
    Row("3 a pack emptied", lambda p: do.rewrite(p.packs()[0], b""), "repository", NOT),
    Row("4 two packs swapped", lambda p: swap(*p.packs()[:2]), "repository", NOT),
    Row("5 a pack's tail cut", lambda p: cut_tail(p.packs()[0]), "repository", restores=True),
    Row("6 a tree of the older base", lambda p: p.flip("tree", of=0, both=False), "repository", True),
    Row("7 an index gone", lambda p: gone(p.files("restic/mysql/index/*")[0]), "repository", NOT),
    Row("8 every index gone", lambda p: gone(*p.files("restic/mysql/index/*")), "repository", NOT),
    Row("9 an index flipped", lambda p: flip(p.files("restic/mysql/index/*")[0]), "mysql", NOT),
    Row("10 the newest snapshot gone", lambda p: gone(p.snapshot(1)), "is gone", "is gone"),
    Row("11 rolled back", do.rolled_back, "the catalogue of db-1 ends at 1, and was at", restores=True),
    Row("12 a snapshot flipped", lambda p: flip(p.snapshot(1)), "mysql", "not those that were stored"),
    Row("13 the configuration flipped", lambda p: flip(p.objects / "restic/mysql/config"), "mysql", NOT),
    Row("14 the key gone", lambda p: gone(*p.files("restic/mysql/keys/*")), "mysql", NOT),
    Row("16 no configuration", lambda p: gone(p.objects / "restic/mysql/config"), "does not exist", NOT),
    Row("19 a segment cut", lambda p: cut_tail(p.segments()[-2]), "segment", NOT),
    Row("20 a segment flipped", lambda p: flip(p.segments()[-2]), "segment", NOT),
    Row("20 its manifest flipped", lambda p: flip(p.segments()[-2], 300), "segment", NOT),
    Row("20 a segment that is not needed", lambda p: flip(p.segments()[0]), "segment", restores=True),
    Row("21 a segment missing", lambda p: gone(p.segments()[-2]), "is missing", NOT),
    Row("21 one that is not needed", lambda p: gone(p.segments()[1]), "is missing", "is missing"),
    Row("22 two segments swapped", lambda p: swap(*p.segments()[-2:]), "segment", NOT),
    Row("25 a catalogue entry flipped", lambda p: flip(p.entry(1), 200), "catalogue", "catalogue"),
    Row("25 the first entry flipped", lambda p: flip(p.entry(0), 200), "catalogue", "catalogue"),
    # Of our own, beyond the table: most of it by somebody who may write there.
    Row("an old segment as the next one", do.replay_segment, "stands after segment", "stands after segment"),
    Row("a segment of nobody far beyond", do.plant_segment, "no signed document", "no signed document"),
    Row("a segment signed by another", do.sign_segment_anew, "nobody here trusts", NOT),
    Row("segments as another stream's", do.another_streams, "nobody here trusts", True),
    Row("the same, signed by that host", do.in_another_stream, "says that it is of db-1", "it is of db-1"),
    Row("the log's end gone", lambda p: gone(*p.segments()[-2:]), "near has 2 more", NOT),
    Row("all of the log gone", lambda p: gone(*p.segments()), "ends at segment 0", NOT),
    Row("snapshots of two bases swapped", lambda p: swap(p.snapshot(0), p.snapshot(1)), "mysql", NOT),
    Row("an entry naming another's snapshot", do.other_snapshot, "another than was seen", "holds other"),
    Row(
        "an entry signed by another host",
        lambda p: do.rewrite_entry(p, {"gtids": ""}, p.bed.agent.other_key),
        "nobody here trusts",
        "nobody here trusts",
    ),
    Row("29 a base of another version", do.other_version, "another than was seen", NOT),
    Row("an old entry as the next one", do.replay_entry, "is db-1.1", "is db-1.1"),
    Row("the catalogue gone", lambda p: gone(*p.entries()), "ends at 0, and was at", NOT),
    Row("a stream that ended before", do.dead_stream, FINE, restores=True),
    Row("none", lambda _: None, FINE, restores=True),
)


@pytest.fixture(scope="module")
def needs(bed: Bed) -> list[Blobs]:
    """And what the near region has is old enough to be missed in the other."""
    an_hour_ago = time.time() - 3600
    for path in (bed.agent.regions["near"].folder / "objects" / BUCKET / "log").rglob("*"):
        os.utime(path, (an_hour_ago, an_hour_ago))
    return needs_of(bed)


@pytest.fixture
def damaged(
    bed: Bed, needs: list[Blobs], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Row, Any]]:
    """The far region's copy with one damage, under an agent that knows what the near one has."""
    row: Row = request.param
    far = bed.agent.regions["far"]
    region = Region("far", tmp_path / "far", free_port(), secrets=far.secrets)
    subprocess.run(["cp", "-a", str(far.folder), str(region.folder)], check=True)
    row.damage(Place(region.folder, bed, needs))
    region.start()
    agent = bed.agent.beside(tmp_path / "agent", {"near": bed.agent.regions["near"], "far": region})
    yield row, agent
    region.stop()


@pytest.mark.parametrize("damaged", ROWS, indirect=True, ids=lambda row: row.name)
def test_damage_is_found_and_no_wrong_restore_is_called_right(
    bed: Bed, damaged: tuple[Row, Any], tmp_path: Path
) -> None:
    row, agent = damaged
    checked = agent.run("check", "--region", "far", "--all")
    told = json.loads(checked.stdout)
    assert (checked.returncode == 0) == (row.found == FINE), (told, checked.stderr[-500:])
    if row.found:
        assert any(row.found in problem for problem in told["problems"]), told["problems"]
    target = tmp_path / "restored" / "data"
    words = ("--to", str(target), "--from", "far", "--identity", str(bed.agent.folder / "identity"))
    done = agent.run("restore", *words, "--gtid", bed.executed)
    assert (done.returncode == 0) == bool(row.restores), (done.stdout, done.stderr[-1500:])
    if not row.restores:
        error = json.loads(done.stdout)["error"]
        assert error["code"] in {"damaged", "key", "bad_input", "refused"}, "it failed for another reason"
        assert (target / ".yiyun-unfinished").exists() or not target.exists() or not any(target.iterdir())
        return
    said = json.loads(done.stdout)
    assert said["gtids"] == bed.executed
    wanted = row.restores if isinstance(row.restores, str) else ""
    assert bool(said["warnings"]) == bool(wanted), said["warnings"]
    assert any(wanted in warning for warning in said["warnings"]) or not wanted, said["warnings"]
    with throwaway.serving(Path(program("MYSQLD")), target) as server:
        restored = list(tables(server.connect, lambda _: None))
    assert differences(list(tables(bed.server.connect, lambda _: None)), restored) == []
    shutil.rmtree(target)


BROKEN = [row for row in ROWS if row.name.startswith(("20 its", "an old segment", "a segment of nobody"))]


@pytest.mark.parametrize("damaged", BROKEN, indirect=True, ids=lambda row: row.name)
def test_the_newest_state_behind_a_broken_link_is_refused_and_the_last_good_moment_named(
    bed: Bed, damaged: tuple[Row, Any], tmp_path: Path
) -> None:
    target = tmp_path / "restored" / "data"
    words = ("--to", str(target), "--from", "far", "--identity", str(bed.agent.folder / "identity"))
    done = damaged[1].run("restore", *words)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (1, "damaged"), done.stdout
    until = error["hint"].rpartition("can be trusted until ")[2]
    done = damaged[1].run("restore", *words, "--at", until)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["warnings"]


@pytest.mark.parametrize(
    "damaged", [row for row in ROWS if row.name == "a stream that ended before"], indirect=True
)
@pytest.mark.parametrize("broken", [False, True])
def test_the_newest_state_is_not_that_of_a_stream_that_ended_before(
    bed: Bed, damaged: tuple[Row, Any], tmp_path: Path, *, broken: bool
) -> None:
    """It comes first by name, and is whole; also when the one that goes on cannot be read to its end."""
    if broken:
        objects = damaged[1].regions["far"].folder / "objects" / BUCKET
        flip(max((objects / "log/db-1").iterdir()), 300)
    target = tmp_path / "restored" / "data"
    words = ("--to", str(target), "--from", "far", "--identity", str(bed.agent.folder / "identity"))
    done = damaged[1].run("restore", *words)
    assert (done.returncode == 0) != broken, done.stdout
    if not broken:
        said = json.loads(done.stdout)
        assert (said["stream"], said["gtids"]) == ("db-1", bed.executed)
        assert any("db-0 ends long before" in warning for warning in said["warnings"]), said["warnings"]
