"""Many drills in a row, drawn from a seed, with a result file that a later run goes on with.

The draw and the file are pure; what touches an estate comes in as `Hands`.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import BadInputError, YiyunError
from runbooks.drills.provenance import commit
from runbooks.drills.ran import Ran

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FORMAT = "yiyun.drill-soak/1"
SEEDS = 10**6


@dataclass(frozen=True)
class Draw:
    """One drill of a soak: its number from 1, its name (or file), and the seed of its workload."""

    number: int
    drill: str
    seed: int


class Entry(Ran):
    """One run of a soak. `commit`: of the toolkit, as runs of one file may be of several."""

    number: int
    seconds: float
    commit: str


class Result(BaseModel):
    """The result file."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["yiyun.drill-soak/1"] = FORMAT
    command: str
    estate: str
    scope: str
    seed: int
    count: int
    drills: list[str]
    began: datetime
    commit: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    runs: list[Entry] = []
    summary: dict[str, dict[str, Any]] = {}
    """Drill → its figures (`comparison.Figures`)."""
    stopped: str = ""
    """Why it ended before all were run; empty while it goes on and when it is done."""


class Hands(Protocol):
    """What a soak does to an estate."""

    def wait_until_whole(self, drill: str) -> None:
        """Return when the drill's hypothesis holds. Raises YiyunError when it does not in time."""
        ...

    def run(self, draw: Draw) -> Ran:
        """Run one drill. Raises YiyunError when it could not be done or undone."""
        ...

    def keep(self, result: Result) -> None:
        """Put the result on the disk. Raises YiyunError."""
        ...


@dataclass(frozen=True)
class Limits:
    """When a soak ends before its last drill. `minutes`: begin no drill after so many; None: no limit."""

    minutes: float | None = None
    stop_on_failure: bool = False


def draw(seed: int, count: int, drills: Sequence[str]) -> tuple[Draw, ...]:
    """`count` drills in random order, each as often as the others (where it does not divide, some once more).

    The same seed, count and drills give the same. Pure. Raises BadInputError for no drills.
    """
    if not drills:
        raise BadInputError("no drills to draw from", hint="yiyun drill list names them")
    source = random.Random(f"{seed}/{count}/{','.join(drills)}")  # noqa: S311  a seed that can be repeated
    whole, rest = divmod(count, len(drills))
    names = [*(list(drills) * whole), *source.sample(list(drills), rest)]
    source.shuffle(names)
    return tuple(Draw(n, name, source.randrange(SEEDS)) for n, name in enumerate(names, start=1))


def read_result(path: Path) -> Result:
    """A result file. Raises BadInputError for what is none."""
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BadInputError(
            f"{path} is no result of a soak: {reason}", hint="name another file with --out", where=str(path)
        ) from None


def gone_on_with(path: Path, wanted: Result) -> Result:
    """The file's result when it is of the same soak, else `wanted`, new, when there is no file.

    Raises BadInputError when the file is of another soak: results of two never stand in one file.
    """
    if not path.exists():
        return wanted
    found = read_result(path)
    for name in ("estate", "seed", "count", "drills"):
        if getattr(found, name) != getattr(wanted, name):
            was, now = getattr(found, name), getattr(wanted, name)
            raise BadInputError(
                f"{path} is of another soak: its {name} is {was}, not {now}",
                hint="name another file with --out, or leave out what differs",
                where=str(path),
            )
    return found.model_copy(update={"stopped": "", "command": wanted.command})


def soak(
    result: Result,
    hands: Hands,
    limits: Limits,
    summarise: Callable[[Sequence[Ran]], dict[str, dict[str, Any]]],
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Run what is left of the draw; the result is kept after each drill. Returns it.

    A drill that could not be done or undone ends the soak: it is noted as aborted, with the reason.
    """
    began = clock()
    for one in draw(result.seed, result.count, result.drills)[len(result.runs) :]:
        if limits.minutes is not None and clock() - began > 60 * limits.minutes:
            result = result.model_copy(update={"stopped": f"{limits.minutes:g} minutes are over"})
            break
        entry, stopped = _one(one, hands, clock)
        if not stopped and limits.stop_on_failure and entry.verdict == "failed":
            stopped = f"drill {one.number} failed"
        runs = [*result.runs, entry]
        result = result.model_copy(update={"runs": runs, "summary": summarise(runs), "stopped": stopped})
        hands.keep(result)
        if stopped:
            return result
    hands.keep(result)
    return result


def _one(one: Draw, hands: Hands, clock: Callable[[], float]) -> tuple[Entry, str]:
    began, at, stopped = clock(), datetime.now(UTC), ""
    try:
        hands.wait_until_whole(one.drill)
        run = hands.run(one)
    except YiyunError as error:
        stopped = f"drill {one.number}: {error.message}"
        run = Ran(drill=one.drill, at=at, verdict="aborted", reasons=[error.message], seed=one.seed)
    more = {"number": one.number, "seconds": round(clock() - began, 1), "commit": commit()}
    return Entry.model_validate(run.model_dump() | more), stopped
