"""Recovery times of the same drills from several sources, as a picture: a panel a drill, a row a source.

The axis is logarithmic, since one source may be ten times as slow as another. What became of a run is its
mark's shape, as in `trends`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.drills.comparison import Figures, figures, regrouped
from runbooks.drills.ran import times
from runbooks.drills.svg import Mark, occurring, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbooks.drills.ran import Ran

WIDTH, LEFT, RIGHT = 1100, 210, 330
"""Left of the scale the sources' names, right of it their figures."""
LEGEND, HEAD, ROW, FOOT = 66, 30, 38, 34
TICKS = tuple(m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5))
"""Marks of the scale, seconds."""
FASTEST, SLOWEST = 0.1, 10.0
"""The scale reaches at least from and to these, seconds."""
SPREAD = (0, -8, 8, -4, 4)
"""Runs of a row lie a little apart, one after the other."""
BESIDE = 14
"""Of a run without a recovery time, right of the scale."""


@dataclass(frozen=True)
class Row:
    """One source's runs of a drill; `y` counts from the panel's top."""

    source: str
    y: float
    marks: tuple[Mark, ...]
    median: float | None
    figures: Figures


@dataclass(frozen=True)
class Panel:
    """One drill. `objective`: (x, seconds)."""

    drill: str
    top: float
    floor: float
    rows: tuple[Row, ...]
    objective: tuple[float, float] | None


@dataclass(frozen=True)
class Picture:
    """Everything the template draws."""

    height: float
    panels: tuple[Panel, ...]
    ticks: tuple[tuple[float, str], ...]
    verdicts: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """Seconds → x, logarithmic between two ticks."""

    low: float
    high: float

    def x(self, seconds: float) -> float:
        """Where a time stands; what lies outside stands at the end."""
        share = math.log(seconds / self.low) / math.log(self.high / self.low) if seconds > 0 else 0.0
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, share)), 1)


def picture(sources: Mapping[str, Sequence[Ran]]) -> Picture:
    """The picture of some sources. Pure."""
    every = [run for runs in sources.values() for run in runs]
    scale = scale_for([*times(every), *(run.objective_rto_s for run in every if run.objective_rto_s)])
    panels: list[Panel] = []
    top = float(LEGEND)
    for name, of in regrouped(sources).items():
        panels.append(_panel(name, {source: runs for source, runs in of.items() if runs}, top, scale))
        top += panels[-1].floor + FOOT
    ticks = tuple((scale.x(t), f"{t:g}") for t in TICKS if scale.low <= t <= scale.high)
    return Picture(top, tuple(panels), ticks, occurring(every))


def scale_for(seconds: Sequence[float]) -> Scale:
    """The scale that holds these times. Pure."""
    low = max((t for t in TICKS if t <= min([FASTEST, *seconds])), default=TICKS[0])
    high = min((t for t in TICKS if t >= max([SLOWEST, *seconds])), default=TICKS[-1])
    return Scale(low, high)


def drawn(sources: Mapping[str, Sequence[Ran]], language: str) -> str:
    """The picture as SVG text, in Chinese or English. Raises BadInputError for another language."""
    size = {"width": WIDTH, "left": LEFT, "right": WIDTH - RIGHT, "head": HEAD}
    return svg("side_by_side", language, picture=picture(sources), **size)


def _panel(drill: str, of: Mapping[str, Sequence[Ran]], top: float, scale: Scale) -> Panel:
    objectives = [run.objective_rto_s for runs in of.values() for run in runs if run.objective_rto_s]
    rows = tuple(
        _row(source, runs, HEAD + ROW * (place + 0.5), scale)
        for place, (source, runs) in enumerate(of.items())
    )
    objective = (scale.x(objectives[-1]), objectives[-1]) if objectives else None
    return Panel(drill, top, HEAD + ROW * len(rows), rows, objective)


def _row(source: str, runs: Sequence[Ran], y: float, scale: Scale) -> Row:
    marks = tuple(
        Mark(
            scale.x(run.rto_s) if run.rto_s is not None else WIDTH - RIGHT + BESIDE,
            y + SPREAD[place % len(SPREAD)],
            run.verdict,
            run.rto_s,
        )
        for place, run in enumerate(runs)
    )
    found = figures(runs)
    return Row(source, y, marks, None if found.rto_p50_s is None else scale.x(found.rto_p50_s), found)
