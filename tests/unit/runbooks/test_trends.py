"""The picture of recovery times: shape tells a verdict, the objective is a line, both languages are whole."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from infra.errors import BadInputError
from runbooks.drills.ran import Ran
from runbooks.drills.trends import MOST_RUNS, PLOT, TOP, Picture, drawn, picture

if TYPE_CHECKING:
    from runbooks.drills.svg import Mark

BEGAN = datetime(2026, 10, 1, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
FLOOR = TOP + PLOT


def run(day: float, verdict: str = "passed", rto: float | None = 0.5, **more: Any) -> Ran:
    given = {
        "drill": "mysql-writer-kill",
        "at": BEGAN + timedelta(days=day),
        "verdict": verdict,
        "rto_s": rto,
    }
    return Ran.model_validate(given | {"objective_rto_s": 1.5} | more)


def marks(*runs: Ran) -> tuple[Mark, ...]:
    return picture(runs).panels[0].marks


def test_a_longer_time_stands_higher_and_a_later_run_further_right() -> None:
    first, second, third = marks(run(2, rto=1.0), run(0, rto=0.2), run(1, rto=3.0))
    assert first.x < second.x < third.x
    assert (first.value, second.value, third.value) == (0.2, 3.0, 1.0)
    assert second.y < third.y < first.y < FLOOR


def test_the_objective_lies_where_a_run_of_that_time_would() -> None:
    panel = picture([run(0, rto=1.5), run(1, rto=4.0)]).panels[0]
    assert panel.objective == (panel.marks[0].y, 1.5)


def test_a_run_that_never_recovered_stands_at_the_top_and_one_without_a_time_below_the_axis() -> None:
    failed, void = marks(run(0, "failed", None), run(1, "void", None))
    assert failed.y == TOP
    assert void.y > FLOOR


def test_the_newest_runs_are_shown_and_the_rest_is_counted() -> None:
    panel = picture([run(n / 10) for n in range(MOST_RUNS + 5)]).panels[0]
    assert (len(panel.marks), panel.left_out) == (MOST_RUNS, 5)
    assert len(panel.dates) <= 7


def shapes(text: str) -> dict[str, set[str]]:
    """Verdict → the SVG elements that mark it, with a path's turns."""
    found: dict[str, set[str]] = {}
    for element in ET.fromstring(text).iter():  # noqa: S314  our own text
        if (name := element.get("class")) in {"passed", "failed", "void", "aborted", "unreadable"}:
            turns = re.sub(r"[0-9. -]", "", element.get("d", ""))
            slopes = re.sub(r"^M[^a-z]*", "", element.get("d", ""))
            found.setdefault(name, set()).add(f"{element.tag.removeprefix(SVG)} {turns} {slopes}")
    return found


def test_each_verdict_has_a_shape_of_its_own_not_a_colour_alone() -> None:
    runs = [run(n, v) for n, v in enumerate(("passed", "failed", "void", "aborted", "unreadable"))]
    found = shapes(drawn(runs, "en"))
    assert found.keys() == {"passed", "failed", "void", "aborted", "unreadable"}
    assert all(len(of) == 1 for of in found.values())
    assert len(set().union(*found.values())) == 5


def test_both_languages_are_whole_and_nothing_comes_from_elsewhere() -> None:
    runs = [run(0), run(1, "failed", None, drill="<script>")]
    chinese, english = drawn(runs, "zh"), drawn(runs, "en")
    assert "目标 1.5 秒" in chinese
    assert "数据库写入成员的进程被杀" in chinese
    assert "objective 1.5 s" in english
    assert not re.search("[一-鿿]", english)
    assert "<script>" not in english
    assert "http" not in english.replace("http://www.w3.org/2000/svg", "")
    assert "never rehearsed" in drawn([], "en")
    with pytest.raises(BadInputError, match="no language fr"):
        drawn(runs, "fr")


def test_an_empty_history_is_a_picture_too() -> None:
    assert isinstance(picture([]), Picture)
    assert picture([]).panels == ()
