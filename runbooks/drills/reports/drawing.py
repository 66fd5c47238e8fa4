"""The picture of a drill: one time axis, the workload above it, the moments that count below. Pure numbers.

Coordinates are SVG's, in a box of `WIDTH` × `HEIGHT`; the template draws what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbooks.drills.reports.compose import BUCKET_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WIDTH, HEIGHT = 960, 316
LEFT, RIGHT, TOP, FLOOR = 44, 12, 14, 180
LABEL_ROWS = 7
LABEL_WIDTH = 250
"""Of the longest label, so that labels on one row do not lie over each other."""
SPAN_BEFORE_S, SPAN_AFTER_S = 2.0, 30.0
"""What the picture shows at most, in seconds from the fault."""
LEAST_WAIT_S = 1.0
MARKED = ("last-good-write", "fault", "first-good-write", "undone", "full-strength")
SIGHTINGS = ("seen", "alert")


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
    """A moment on the axis, and its label: `row` below the axis, `anchor` as SVG's `text-anchor`."""

    x: float
    kind: str
    t: float
    row: int
    source: str
    """Who saw it, where there are several."""
    text_x: float
    anchor: str


@dataclass(frozen=True)
class Picture:
    """Everything the template draws."""

    columns: tuple[Column, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, float], ...]
    """(x, seconds)."""
    most: int
    """Writes in the fullest column."""
    waits: tuple[tuple[float, float], ...]
    """Longest wait of each column, as points; the top is `longest`."""
    longest: float
    """Seconds; at least `LEAST_WAIT_S`, so that a calm drill looks calm."""


def picture(report: Mapping[str, Any]) -> Picture:
    """The picture of a report."""
    graph: list[dict[str, Any]] = [c for c in report["graph"] if -SPAN_BEFORE_S <= c["t"] <= SPAN_AFTER_S]
    moments = list(_moments(report["timeline"]))
    shown = [row["t"] for row in moments if row["t"] <= SPAN_AFTER_S]
    last = max([1.0, *(c["t"] + BUCKET_S for c in graph), *shown])
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
    longest = max([LEAST_WAIT_S, *(c["longest_s"] for c in graph)])
    half = BUCKET_S * scale / 2
    waits = tuple(
        (round(x(c["t"]) + half, 1), round(FLOOR - c["longest_s"] / longest * (FLOOR - TOP), 1))
        for c in graph
    )
    return Picture(columns, tuple(_marks(moments, x)), tuple(_ticks(last, x)), most, waits, longest)


def _moments(timeline: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The moments that count: each kind once, and the first sighting of each layer."""
    told: set[tuple[str, str]] = set()
    for row in timeline:
        layer = str(row["source"]).partition(" ")[0] if row["kind"] in SIGHTINGS else ""
        if row["kind"] in (*MARKED, *SIGHTINGS) and (row["kind"], layer) not in told:
            told.add((row["kind"], layer))
            yield row


def _marks(moments: Sequence[Mapping[str, Any]], x: Callable[[float], float]) -> Iterator[Mark]:
    """Each label on the first row where it has room, to the left of its line when the edge is near."""
    taken = [float("-inf")] * LABEL_ROWS
    for row in moments:
        place = x(row["t"])
        left = place + 3 + LABEL_WIDTH > WIDTH
        begins = place - 3 - LABEL_WIDTH if left else place + 3
        free = [n for n in range(LABEL_ROWS) if taken[n] <= begins]
        line = free[0] if free else min(range(LABEL_ROWS), key=lambda n: taken[n])
        taken[line] = begins + LABEL_WIDTH
        source = row["source"] if row["kind"] in SIGHTINGS else ""
        anchor, text_x = ("end", place - 3) if left else ("start", place + 3)
        yield Mark(place, row["kind"], row["t"], line, source, round(text_x, 1), anchor)


def _ticks(last: float, x: Callable[[float], float]) -> Iterator[tuple[float, float]]:
    step = next(s for s in (1, 2, 5, 10) if (last + SPAN_BEFORE_S) / s <= 12 or s == 10)
    second = -int(SPAN_BEFORE_S // step) * step
    while second <= last:
        yield x(second), float(second)
        second += step
