"""What drills that were run here showed, each computed anew from its evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import BadInputError
from runbooks.drills.conduct import summary
from runbooks.drills.folder import DRILL, Folder, folders
from runbooks.drills.journal import named, read_journal
from runbooks.drills.roles import hit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra.paths import EstatePaths

STAMP = "%Y%m%dT%H%M%SZ"
"""Of a folder's name."""
Word = Literal["passed", "failed", "void", "aborted", "unreadable"]
COUNTED = frozenset({"passed", "failed"})
"""Verdicts of drills that show something: a void or aborted one proves nothing."""


class Ran(BaseModel):
    """One drill that was run. Seconds, as in `conduct.summary`; `at`: when it began."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    drill: str
    at: datetime
    verdict: Word
    reasons: list[str] = []
    seed: int = 0
    evidence: str = ""
    """Name of its folder."""
    hit: list[str] = []
    """Hosts that it broke."""
    objective_rto_s: float | None = None
    rto_s: float | None = None
    full_strength_s: float | None = None
    acknowledged: int = 0
    lost: int = 0
    indeterminate: int = 0
    failed: int = 0
    failed_requests: int | None = None
    stale_reads: int = 0
    conflicts: int = 0
    two_writers_s: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it says anything of the estate."""
        return self.verdict in COUNTED


def ran(paths: EstatePaths, newest: int | None = None) -> list[Ran]:
    """The drills that were run here, oldest first. `newest`: at most so many of each that count."""
    taken: dict[str, int] = {}
    found: list[Ran] = []
    for folder in reversed(folders(paths)):
        name = _name(folder)
        if newest is not None and taken.get(name, 0) >= newest:
            continue
        one = read_ran(folder)
        taken[name] = taken.get(name, 0) + one.counts
        found.append(one)
    return found[::-1]


def newest_runs(paths: EstatePaths) -> list[Ran]:
    """The newest run of each drill, by name: what a status screen tells."""
    newest = {_name(folder): folder for folder in folders(paths)}
    return [read_ran(newest[name]) for name in sorted(newest)]


def read_ran(folder: Folder) -> Ran:
    """What one drill showed; `unreadable`, with the reason, where its evidence is not whole."""
    name, began = _name(folder), _stamp(folder)
    try:
        drill = DRILL.validate_json(folder.drill.read_bytes())
        start = named(read_journal(folder.journal), "began")
        figures = summary(folder.verdict())
    except (BadInputError, ValidationError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Ran(drill=name, at=began, verdict="unreadable", reasons=[reason], evidence=folder.path.name)
    known = {
        "drill": drill.name,
        "at": start[0].at if start else began,
        "seed": start[0].fields.get("seed", 0) if start else 0,
        "evidence": folder.path.name,
        "hit": sorted(hit(drill)),
        "objective_rto_s": drill.objectives.rto_s,
    }
    return Ran.model_validate(known | figures)


def by_drill(runs: Iterable[Ran]) -> dict[str, list[Ran]]:
    """Drill → its runs, drills in the order of their names."""
    found: dict[str, list[Ran]] = {}
    for run in runs:
        found.setdefault(run.drill, []).append(run)
    return dict(sorted(found.items()))


def times(runs: Sequence[Ran]) -> list[float]:
    """Recovery times of the runs that count and have one, seconds."""
    return [run.rto_s for run in runs if run.counts and run.rto_s is not None]


def _name(folder: Folder) -> str:
    """The drill's name as its folder's has it: TIME-NAME-MARK."""
    return folder.path.name.partition("-")[2].rpartition("-")[0] or folder.path.name


def _stamp(folder: Folder) -> datetime:
    try:
        return datetime.strptime(folder.path.name.partition("-")[0], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
