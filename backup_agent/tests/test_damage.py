"""The table of damage (dr-facts, section 5), played on copies of a region: no wrong restore is called right.

Each row says what a check must say of it, and whether a restore may succeed all the same; when it does, what
it made is compared with the source.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
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


@dataclass(frozen=True)
class Row:
    """`found`: words of the check's problem, `FINE` when it must find none. `restores`: whether it may."""

    name: str
    damage: Callable[[Place], None]
    found: str
    restores: bool


@dataclass
class Place:
    """A copy of a region: its folder, and the bed it was copied from."""

    objects: Path
    bed: Bed

    def files(self, pattern: str) -> list[Path]:
        """Largest first."""
        found = [p for p in self.objects.glob(pattern) if p.is_file()]
        assert found, pattern
        return sorted(found, key=lambda p: -p.stat().st_size)

    def packs(self) -> list[Path]:
        return self.files("restic/mysql/data/*/*")

    def segments(self) -> list[Path]:
        return sorted(self.files("log/db-1/*"))

    def snapshot(self, number: int) -> Path:
        name = self.bed.bases[number]["body"]["snapshots"]["far"]
        return self.objects / "restic/mysql/snapshots" / name


def flip(path: Path, at: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    _rewrite(path, bytes(data))


def _rewrite(path: Path, data: bytes) -> None:
    """In place: the store keeps what it knows of a file beside it, in its attributes."""
    with path.open("r+b") as opened:
        opened.write(data)
        opened.truncate(len(data))


def swap(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    _rewrite(one, second)
    _rewrite(two, first)


def cut_tail(path: Path) -> None:
    _rewrite(path, path.read_bytes()[:-100])


def gone(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def rolled_back(place: Place) -> None:
    """To before the second base: its snapshot and its entry are gone, and so is the log since."""
    gone(place.snapshot(1), max(place.files("catalogue/db-1/*")))


def _middle(paths: list[Path]) -> Path:
    return paths[len(paths) // 2]


ROWS = (
    Row("1 a byte flipped in a pack", lambda p: flip(p.packs()[0], 5000), "repository", restores=False),
    Row("2 a pack missing", lambda p: gone(p.packs()[0]), "repository", restores=False),
    Row("3 a pack emptied", lambda p: _rewrite(p.packs()[0], b""), "repository", restores=False),
    Row("4 two packs swapped", lambda p: swap(*p.packs()[:2]), "repository", restores=False),
    Row("5 a pack's tail cut", lambda p: cut_tail(p.packs()[0]), "repository", restores=True),
    Row("8 every index gone", lambda p: gone(*p.files("restic/mysql/index/*")), "repository", restores=False),
    Row("9 an index flipped", lambda p: flip(p.files("restic/mysql/index/*")[0]), "mysql", restores=False),
    Row("10 the newest snapshot gone", lambda p: gone(p.snapshot(1)), "is gone", restores=True),
    Row("11 rolled back", rolled_back, "the catalogue of db-1 ends at 1, and was at 2", restores=True),
    Row("12 a snapshot flipped", lambda p: flip(p.snapshot(1)), "mysql", restores=True),
    Row(
        "13 the configuration flipped",
        lambda p: flip(p.objects / "restic/mysql/config"),
        "mysql",
        restores=False,
    ),
    Row("14 the key gone", lambda p: gone(*p.files("restic/mysql/keys/*")), "mysql", restores=False),
    Row(
        "16 the configuration gone",
        lambda p: gone(p.objects / "restic/mysql/config"),
        "does not exist",
        restores=False,
    ),
    Row("19 a segment cut", lambda p: cut_tail(_middle(p.segments())), "segment", restores=False),
    Row("20 a segment flipped", lambda p: flip(_middle(p.segments())), "segment", restores=False),
    Row("21 a segment missing", lambda p: gone(_middle(p.segments())), "is missing", restores=False),
    Row("22 two segments swapped", lambda p: swap(*p.segments()[5:7]), "segment", restores=False),
    Row(
        "25 a catalogue entry flipped",
        lambda p: flip(p.files("catalogue/db-1/*")[0], 200),
        "catalogue",
        restores=True,
    ),
    Row("none", lambda _: None, FINE, restores=True),
)


@pytest.fixture
def damaged(bed: Bed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Row, Any]]:
    """The far region's copy with one damage, under an agent that knows what the near one has."""
    row: Row = request.param
    far = bed.agent.regions["far"]
    region = Region("far", tmp_path / "far", free_port(), secrets=far.secrets)
    subprocess.run(["cp", "-a", str(far.folder), str(region.folder)], check=True)
    row.damage(Place(region.folder / "objects" / BUCKET, bed))
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
    assert (done.returncode == 0) == row.restores, (done.stdout, done.stderr[-1500:])
    if not row.restores:
        assert (target / ".yiyun-unfinished").exists() or not target.exists() or not any(target.iterdir())
        return
    assert json.loads(done.stdout)["gtids"] == bed.executed
    with throwaway.serving(Path(program("MYSQLD")), target) as server:
        restored = list(tables(server.connect, lambda _: None))
    assert differences(list(tables(bed.server.connect, lambda _: None)), restored) == []
    shutil.rmtree(target)
