"""Recovery times of drills over their runs, as a picture: one panel a drill, its objective as a line.

`picture` is pure numbers, in SVG's coordinates; `drawn` puts them into a file that needs nothing else. What
became of a run is its mark's shape; colour only repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.drills.ran import Ran, by_drill, times
from runbooks.drills.svg import Mark, occurring, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, LEFT, RIGHT = 960, 64, 150
PANEL, TOP, PLOT = 190, 30, 120
"""Height of a panel, of its heading, and of the part that is measured in."""
LEGEND = 56
MOST_RUNS = 200
"""The newest runs of a drill that a picture shows; more would lie over each other."""
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Distances of grid lines, seconds: the first that needs at most `GRID_LINES`."""
GRID_LINES = 6
DATES = 6
"""Dates written below a panel at most."""
HEADROOM = 1.1


@dataclass(frozen=True)
class Panel:
    """One drill's runs. `y` values count from the panel's top."""

    drill: str
    top: float
    marks: tuple[Mark, ...]
    objective: tuple[float, float] | None
    """(y, seconds)."""
    grid: tuple[tuple[float, str], ...]
    """(y, seconds as text)."""
    dates: tuple[tuple[float, str], ...]
    """(x, date)."""
    left_out: int
    """Older runs that are not shown."""


@dataclass(frozen=True)
class Picture:
    """Everything the template draws."""

    height: float
    panels: tuple[Panel, ...]
    verdicts: tuple[str, ...]
    """Those that occur, in the order of the legend."""


def picture(runs: Sequence[Ran]) -> Picture:
    """The picture of some runs. Pure."""
    drills = by_drill(runs)
    panels = tuple(_panel(name, of, LEGEND + n * PANEL) for n, (name, of) in enumerate(drills.items()))
    return Picture(LEGEND + PANEL * max(1, len(panels)), panels, occurring(runs))


def drawn(runs: Sequence[Ran], language: str) -> str:
    """The picture as SVG text, in Chinese or English. Raises BadInputError for another language."""
    size = {"width": WIDTH, "left": LEFT, "right": WIDTH - RIGHT, "floor": TOP + PLOT, "plot_top": TOP}
    return svg("trends", language, picture=picture(runs), **size)


def _panel(drill: str, runs: Sequence[Ran], top: float) -> Panel:
    shown = sorted(runs, key=lambda run: run.at)[-MOST_RUNS:]
    objective = next((r.objective_rto_s for r in reversed(shown) if r.objective_rto_s is not None), None)
    most = HEADROOM * max(STEPS[0], objective or 0.0, *times(shown))

    def y(seconds: float) -> float:
        return round(TOP + PLOT * (1 - min(seconds, most) / most), 1)

    apart = (WIDTH - LEFT - RIGHT) / len(shown)
    places = [round(LEFT + apart * (n + 0.5), 1) for n in range(len(shown))]
    marks = tuple(
        _mark(run, x, y(run.rto_s) if run.rto_s is not None else None)
        for run, x in zip(shown, places, strict=True)
    )
    step = next((s for s in STEPS if most / s <= GRID_LINES), STEPS[-1])
    grid = tuple((y(n * step), f"{n * step:g}") for n in range(int(most / step) + 1))
    return Panel(
        drill=drill,
        top=top,
        marks=marks,
        objective=None if objective is None else (y(objective), objective),
        grid=grid,
        dates=_dates(shown, places),
        left_out=len(runs) - len(shown),
    )


def _mark(run: Ran, x: float, y: float | None) -> Mark:
    """A run that shows no time stands below the axis; a failed one that never served again at the top."""
    never = run.verdict == "failed" and run.rto_s is None
    place = float(TOP) if never else y if y is not None else TOP + PLOT + 12
    return Mark(x, place, run.verdict, run.rto_s, f"{run.at:%Y-%m-%d %H:%M}Z")


def _dates(shown: Sequence[Ran], places: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """The first run of each day, thinned out so that they do not lie over each other."""
    days = [f"{run.at:%Y-%m-%d}" for run in shown]
    firsts = [
        (x, day) for n, (x, day) in enumerate(zip(places, days, strict=True)) if n == 0 or days[n - 1] != day
    ]
    apart = (WIDTH - LEFT - RIGHT) / DATES
    kept: list[tuple[float, str]] = []
    for x, day in firsts:
        if not kept or x - kept[-1][0] >= apart:
            kept.append((x, day))
    return tuple(kept)
