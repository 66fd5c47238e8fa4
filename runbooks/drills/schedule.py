"""When each drill is due: an interval from the calendar, the last run that passed from the evidence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from runbooks.drills.ran import Ran


class Interval(BaseModel):
    """How often a drill is wanted, and who says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_days: int = Field(ge=1, le=3660)
    source: str


class Calendar(BaseModel):
    """Intervals by drill; `otherwise` for those that it does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    otherwise: Interval
    drills: dict[str, Interval]

    def of(self, drill: str) -> Interval:
        """The interval of a drill."""
        return self.drills.get(drill, self.otherwise)


@dataclass(frozen=True)
class Due:
    """When a drill is due. `overdue_days`: whole days; 0 when not overdue, None when it never passed."""

    drill: str
    interval: Interval
    last_passed: datetime | None
    last_run: datetime | None
    last_verdict: str
    next_due: datetime | None
    overdue: bool
    overdue_days: int | None

    def as_json(self) -> dict[str, Any]:
        """As in the command contract; moments are RFC 3339 in UTC."""
        return {
            "drill": self.drill,
            "every_days": self.interval.every_days,
            "source": self.interval.source,
            "last_passed": _text(self.last_passed),
            "last_run": _text(self.last_run),
            "last_verdict": self.last_verdict or None,
            "next_due": _text(self.next_due),
            "overdue": self.overdue,
            "overdue_days": self.overdue_days,
        }


@cache
def calendar() -> Calendar:
    """The calendar that comes with yiyun."""
    text = resources.files("runbooks.drills").joinpath("calendar.yaml").read_text(encoding="utf-8")
    return Calendar.model_validate(YAML(typ="safe").load(text))


def schedule(drills: Iterable[str], runs: Sequence[Ran], intervals: Calendar, now: datetime) -> list[Due]:
    """When each drill is due, the longest overdue first, never rehearsed before all.

    Only a run that passed counts as rehearsed. One that lies in the future is not believed: a controller's
    clock was wrong then.
    """
    believed = [run for run in runs if run.at <= now]
    found = [_due(name, [r for r in believed if r.drill == name], intervals.of(name), now) for name in drills]
    return sorted(found, key=lambda d: (d.next_due is not None, d.next_due or now, d.drill))


def _due(drill: str, runs: Sequence[Ran], interval: Interval, now: datetime) -> Due:
    newest = max(runs, key=lambda r: r.at, default=None)
    passed = max((r.at for r in runs if r.verdict == "passed"), default=None)
    due = None if passed is None else passed + timedelta(days=interval.every_days)
    return Due(
        drill=drill,
        interval=interval,
        last_passed=passed,
        last_run=newest.at if newest else None,
        last_verdict=newest.verdict if newest else "",
        next_due=due,
        overdue=due is None or due < now,
        overdue_days=None if due is None else max(0, (now - due).days),
    )


def _text(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
