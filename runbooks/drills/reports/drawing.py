"""The picture of a drill: one time axis, the workload above it, the moments that count below. Pure numbers.

Coordinates are SVG's, in a box of `WIDTH` × `HEIGHT`; the template draws what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbooks.drills.reports.compose import BUCKET_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, FLOOR = 44, 12, 14, 180
LABEL_ROWS = 4
SPAN_BEFORE_S, SPAN_AFTER_S = 2.0, 30.0
"""What the picture shows at most, in seconds from the fault."""
MARKED = ("last-good-write", "fault", "first-good-write", "undone", "full-strength")


@dataclass(frozen=True)
class Column:
    """A column of the graph: its left edge, and the heights of each outcome from the bottom up."""

    x: float
    width: float
    ok: float
    unknown: float
    fail: float


@dataclass(frozen=True)
class Mark:
    """A moment on the axis. `row`: of its label, so that labels do not lie over each other."""

    x: float
    kind: str
    t: float
    row: int


@dataclass(frozen=True)
class Picture:
    """Everything the template draws."""

    columns: tuple[Column, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, float], ...]
    """(x, seconds)."""
    most: int
    """Writes in the fullest column."""


def picture(report: Mapping[str, Any]) -> Picture:
    """The picture of a report."""
    graph: list[dict[str, Any]] = [c for c in report["graph"] if -SPAN_BEFORE_S <= c["t"] <= SPAN_AFTER_S]
    moments = [row for row in report["timeline"] if row["kind"] in MARKED]
    last = max([1.0, *(c["t"] + BUCKET_S for c in graph), *(r["t"] for r in moments if r["t"] <= SPAN_AFTER_S)])
    scale = (WIDTH - LEFT - RIGHT) / (last + SPAN_BEFORE_S)

    def x(seconds: float) -> float:
        return round(LEFT + (min(max(seconds, -SPAN_BEFORE_S), last) + SPAN_BEFORE_S) * scale, 1)

    most = max([1, *(c["ok"] + c["fail"] + c["unknown"] for c in graph)])
    unit = (FLOOR - TOP) / most
    columns = tuple(
        Column(
            x(c["t"]),
            round(BUCKET_S * scale * 0.9, 2),
            *(round(c[outcome] * unit, 1) for outcome in ("ok", "unknown", "fail")),
        )
        for c in graph
    )
    return Picture(columns, tuple(_marks(moments, x)), tuple(_ticks(last, x)), most)


def _marks(moments: Sequence[Mapping[str, Any]], x: Any) -> Iterator[Mark]:
    for number, row in enumerate(moments):
        yield Mark(x(row["t"]), row["kind"], row["t"], number % LABEL_ROWS)


def _ticks(last: float, x: Any) -> Iterator[tuple[float, float]]:
    step = next(s for s in (1, 2, 5, 10) if (last + SPAN_BEFORE_S) / s <= 12 or s == 10)
    second = -int(SPAN_BEFORE_S // step) * step
    while second <= last:
        yield x(second), float(second)
        second += step
