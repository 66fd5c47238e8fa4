"""The estate that is to be recovered, read while it is there: what a rehearsal is held against."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError
from runbooks.backups.agent import LONGEST, ask
from runbooks.backups.hosts import base_taker, far_region
from runbooks.drills.evidence.members import asked
from runbooks.recovery.pages import Shown, settings_for, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

STORED_SECONDS = 120.0
CUT_SECONDS = 2.5
"""A segment is cut after two seconds: what was committed before then is in one that was cut."""
BEGINNINGS = 40
"""Places at which residents are looked for; each record number begins somewhere."""


@dataclass(frozen=True)
class Source:
    """What was read: the set that the sums are of, and what its pages show of a sample."""

    gtids: str
    entry: str
    """Id of the catalogue's entry with the sums."""
    tables: int
    rows: int
    behind_s: float
    """How far behind the other region's log was when the sums were made."""
    residents: tuple[str, ...]
    shown: Shown


def read_source(
    estate: Estate, paths: EstatePaths, sample: int, seed: int, progress: Callable[[str], None]
) -> Source:
    """Sum up every table, wait until the other region has the log up to there, look at some residents' pages.

    Raises YiyunError.
    """
    member = base_taker(estate)
    progress("some residents, as the platform shows them")
    residents = drawn_residents(paths, member, sample, seed)
    if not residents:
        raise YiyunError(
            "the platform has no residents", hint="a rehearsal of nothing proves nothing: load some"
        )
    seen = shown(settings_for(estate, paths, residents))
    progress(f"{member}: reading every table")
    summed = ask(paths, member, "sum", seconds=LONGEST, tell=progress)
    if summed["problems"]:
        raise YiyunError(f"{member}: {summed['problems'][0]}", hint="yiyun backup verify")
    progress(f"waiting for the log in {far_region(estate)}")
    behind = wait_stored(estate, paths)
    rows = sum(int(table["rows"]) for table in summed["tables"])
    return Source(summed["gtids"], summed["id"], len(summed["tables"]), rows, behind, residents, seen)


def drawn_residents(paths: EstatePaths, member: str, sample: int, seed: int) -> tuple[str, ...]:
    """Record numbers of residents drawn by a seed, those with attachments first. Raises YiyunError."""
    some = f"SELECT DISTINCT record_number FROM yiyun.attachment ORDER BY 1 LIMIT {sample * 4}"  # noqa: S608
    with_files = _numbers(paths, member, some)
    dice = random.Random(seed)  # noqa: S311  a seed that can be repeated
    chosen = dice.sample(with_files, min(len(with_files), sample // 2))
    total = asked(paths, member, "SELECT JSON_ARRAY(COUNT(*)) FROM yiyun.resident")[0]
    for _ in range(BEGINNINGS):
        if len(chosen) >= sample or not total:
            break
        skip = dice.randrange(total)
        statement = f"SELECT record_number FROM yiyun.resident ORDER BY 1 LIMIT 1 OFFSET {skip}"  # noqa: S608
        chosen += [n for n in _numbers(paths, member, statement) if n not in chosen]
    return tuple(chosen)


def _numbers(paths: EstatePaths, member: str, statement: str) -> list[str]:
    found: Sequence[str] = asked(
        paths,
        member,
        f"SELECT COALESCE(JSON_ARRAYAGG(record_number), JSON_ARRAY()) FROM ({statement}) AS them",  # noqa: S608  ours
    )
    return sorted(found)


def wait_stored(estate: Estate, paths: EstatePaths) -> float:
    """Wait until the other region has all that was committed before now. Returns how far behind it was.

    Raises YiyunError when no stream gets there.
    """
    region, began = far_region(estate), time.time()
    first: float | None = None
    while True:
        told = [t for host in estate.hosts_with("db") if (t := _status(paths, host.name)) and t["source"]]
        behind = min((t["regions"][region]["behind_s"] for t in told), default=None)
        first = behind if first is None else first
        if any(passed(t, region, began) for t in told) and first is not None:
            return round(first, 3)
        if time.time() > began + STORED_SECONDS:
            raise YiyunError(
                f"{region} is behind with the log: {behind} s", hint="yiyun status; yiyun backup verify"
            )
        time.sleep(0.5)


def passed(told: dict[str, Any], region: str, moment: float) -> bool:
    """Whether a stream has stored what was committed before a moment (seconds of the clock). Pure."""
    return told["at"] - told["regions"][region]["behind_s"] > moment + CUT_SECONDS


def _status(paths: EstatePaths, host: str) -> dict[str, Any] | None:
    """A host that does not stream says nothing."""
    try:
        return ask(paths, host, "status")
    except YiyunError:
        return None
