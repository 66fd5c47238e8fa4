"""One row of the table of damage, played: on a copy of a region, with a check and a restore, and judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bed_kit import unlike_source
from damage_kit import Place, needs_of
from store_kit import BUCKET, Region, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from damage_kit import Blobs
    from server_kit import Agent, Bed

FINE = ""
NOT = False
CODES = frozenset({"damaged", "key", "bad_input", "refused"})
"""Errors that say that the data will not do; any other one would be the failure of something else."""
NOTHING, MARKED, AS_IT_WAS, UNMARKED, WHOLE = "nothing", "marked", "as it was", "unmarked", "whole"
"""What a restore left in its target."""


def nothing(_: object) -> None:
    """No damage, or nothing more than that in the store."""


@dataclass
class Play:
    """A row that is being played. `place`: the copy of the far region, which `agent` has as its own."""

    bed: Bed
    place: Place
    agent: Agent
    target: Path

    @property
    def words(self) -> tuple[str, ...]:
        """The restore: from the damaged copy alone, to the set that the source holds."""
        opens = str(self.bed.agent.folder / "identity")
        where = ("--to", str(self.target), "--from", "far", "--identity", opens)
        return ("restore", *where, "--gtid", self.bed.executed)


def restored(play: Play) -> subprocess.CompletedProcess[str]:
    return play.agent.run(*play.words)


@dataclass(frozen=True)
class Row:
    """`required`: of a restore. `found`: words of the check's problem, `FINE` when there must be none.

    `restores`: whether it may; words of a warning when it must say something with it.
    """

    name: str
    damage: Callable[[Place], None]
    found: str
    restores: bool | str
    required: str
    before: Callable[[Play], None] = nothing
    """What else is wrong, done with the store running."""
    run: Callable[[Play], subprocess.CompletedProcess[str]] = restored
    codes: frozenset[str] = CODES
    """Of the error: those that will do."""
    noted: str = ""
    """Words of what the check must say without calling it a problem."""

    @property
    def number(self) -> str:
        """In the table of dr-facts, section 5; empty for what is of our own."""
        first = self.name.split(" ", 1)[0]
        return first if first.isdecimal() else ""


@dataclass
class Outcome:
    """What happened. `differences`: of what was restored from its source, None where nothing was."""

    check_code: int
    problems: list[str]
    notes: list[str]
    restore_code: int
    left: str
    error: dict[str, str] = field(default_factory=dict)
    gtids: str = ""
    warnings: list[str] = field(default_factory=list)
    differences: list[str] | None = None

    @property
    def is_wrong(self) -> bool:
        """A restore that calls itself right and is not."""
        return self.restore_code == 0 and bool(self.differences)


@contextmanager
def damaged(bed: Bed, row: Row, needs: list[Blobs], folder: Path) -> Iterator[Play]:
    """The far region's copy with one damage, under an agent that knows what the near one has."""
    far = bed.agent.regions["far"]
    region = Region("far", folder / "far", free_port(), secrets=far.secrets)
    subprocess.run(["cp", "-a", str(far.folder), str(region.folder)], check=True)
    place = Place(region.folder, bed, needs)
    row.damage(place)
    region.start()
    try:
        agent = bed.agent.beside(folder / "agent", {"near": bed.agent.regions["near"], "far": region})
        yield Play(bed, place, agent, folder / "restored" / "data")
    finally:
        region.stop()


def aged_needs(bed: Bed) -> list[Blobs]:
    """What each base needs; and what the near region has is old enough to be missed in the other."""
    an_hour_ago = time.time() - 3600
    for path in (bed.agent.regions["near"].folder / "objects" / BUCKET / "log").rglob("*"):
        os.utime(path, (an_hour_ago, an_hour_ago))
    return needs_of(bed)


def played(row: Row, play: Play) -> Outcome:
    """Check the region, restore from it, and compare what came of it."""
    row.before(play)
    checked = play.agent.run("check", "--region", "far", "--all")
    told = json.loads(checked.stdout)
    was = _content(play.target)
    done = row.run(play)
    said = _answer(done)
    outcome = Outcome(
        checked.returncode, told["problems"], told.get("notes", []), done.returncode, _left(play.target, was)
    )
    if done.returncode != 0:
        outcome.error = said["error"]
        return outcome
    outcome.gtids, outcome.warnings = said["gtids"], said["warnings"]
    outcome.differences = unlike_source(play.bed, play.target)
    if outcome.gtids != play.bed.executed:
        outcome.differences.append("it holds other GTIDs than were asked for")
    if _identity(play.target) == _identity(play.bed.server.folder / "data"):
        outcome.differences.append("it calls itself by the source's own name")
    shutil.rmtree(play.target)
    return outcome


def judged(row: Row, outcome: Outcome) -> list[str]:
    """What was not as it has to be, in sentences; empty when all was. Pure."""
    said: list[str] = []
    if (outcome.check_code == 0) != (row.found == FINE):
        said.append(f"the check ended with {outcome.check_code}")
    if row.found and not any(row.found in problem for problem in outcome.problems):
        said.append(f"the check does not say: {row.found}")
    if not any(row.noted in note for note in [*outcome.notes, ""] if note or not row.noted):
        said.append(f"the check does not note: {row.noted}")
    if (outcome.restore_code == 0) != bool(row.restores):
        return [*said, f"the restore ended with {outcome.restore_code}"]
    return said + (_right(row, outcome) if row.restores else _refused(row, outcome))


def _right(row: Row, outcome: Outcome) -> list[str]:
    said = list(outcome.differences or ())
    wanted = row.restores if isinstance(row.restores, str) else ""
    if bool(outcome.warnings) != bool(wanted):
        said.append(f"{len(outcome.warnings)} warning(s)")
    if wanted and not any(wanted in warning for warning in outcome.warnings):
        said.append(f"no warning says: {wanted}")
    return said


def _refused(row: Row, outcome: Outcome) -> list[str]:
    said = [] if outcome.error["code"] in row.codes else ["it failed for another reason"]
    return said + (["the target is not marked as unfinished"] if outcome.left in {UNMARKED, WHOLE} else [])


def _answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The answer; without one, what was said instead."""
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return {"error": {"code": "none", "message": done.stderr.strip()[-500:], "hint": ""}}


def _left(target: Path, was: dict[str, int]) -> str:
    found = _content(target)
    if not found:
        return NOTHING
    if (target / ".yiyun-unfinished").exists():
        return MARKED
    if was and was == found:
        return AS_IT_WAS
    return WHOLE if (target / "ibdata1").exists() else UNMARKED


def _content(target: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in target.iterdir()} if target.exists() else {}


def _identity(data: Path) -> str:
    return (data / "auto.cnf").read_text()
