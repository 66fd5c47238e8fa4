"""Sources beside each other: one scale for all, a row each, figures that are those of the table."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from babel.messages.pofile import read_po

from infra.errors import BadInputError
from runbooks.drills.comparison import figures
from runbooks.drills.ran import Ran
from runbooks.drills.side_by_side import LEFT, RIGHT, WIDTH, drawn, picture, scale_for

BEGAN = datetime(2026, 10, 1, tzinfo=UTC)
SCALE_END = WIDTH - RIGHT


def run(rto: float | None, verdict: str = "passed", drill: str = "mysql-writer-kill", **more: Any) -> Ran:
    given = {"drill": drill, "at": BEGAN + timedelta(minutes=1), "verdict": verdict, "rto_s": rto}
    return Ran.model_validate(given | {"objective_rto_s": 1.5} | more)


QUICK, SLOW = [run(0.4), run(0.5), run(0.9)], [run(6.2), run(7.1), run(None, "failed", lost=2)]


def test_a_longer_time_stands_further_right_in_every_row_by_one_scale() -> None:
    panel = picture({"quick": QUICK, "slow": SLOW}).panels[0]
    quick, slow = panel.rows
    assert quick.marks[0].x < quick.marks[1].x < quick.marks[2].x < slow.marks[0].x < slow.marks[1].x
    assert (quick.median, panel.objective) == (quick.marks[1].x, (scale_for([0.4, 7.1]).x(1.5), 1.5))
    assert quick.y < slow.y < panel.floor


def test_what_never_recovered_stands_right_of_the_scale() -> None:
    slow = picture({"slow": SLOW}).panels[0].rows[0]
    assert slow.marks[2].x > SCALE_END >= slow.marks[1].x


@pytest.mark.parametrize("seconds", [[], [0.4], [0.003, 0.2], [0.4, 40.0], [5000.0]])
def test_every_time_stands_between_the_ends_of_the_scale(seconds: list[float]) -> None:
    scale = scale_for(seconds)
    assert all(LEFT <= scale.x(s) <= SCALE_END for s in [*seconds, 0.0, scale.low, scale.high])
    assert (scale.x(scale.low), scale.x(scale.high)) == (LEFT, SCALE_END)


def test_figures_are_those_of_the_table() -> None:
    rows = picture({"quick": QUICK, "slow": SLOW}).panels[0].rows
    assert [row.figures for row in rows] == [figures(QUICK), figures(SLOW)]
    text = drawn({"slow": SLOW}, "en")
    assert "3 runs: 2 lost" in text


def test_drills_have_panels_that_do_not_overlap_and_a_source_without_a_drill_no_row() -> None:
    found = picture({"a": QUICK, "b": [run(0.2, drill="app-loss"), *SLOW]})
    first, second = found.panels
    assert (first.drill, [r.source for r in first.rows]) == ("app-loss", ["b"])
    assert [r.source for r in second.rows] == ["a", "b"]
    assert first.top + first.floor < second.top
    assert second.top + second.floor < found.height


def test_it_is_whole_in_both_languages_and_needs_nothing_else() -> None:
    sources = {"<a&b>.json": QUICK}
    chinese, english = drawn(sources, "zh"), drawn(sources, "en")
    assert "数据库写入成员的进程被杀" in chinese
    assert not re.search("[一-鿿]", english)
    names = [e.text for e in ET.fromstring(english).iter() if e.text == "<a&b>.json"]  # noqa: S314  our own
    assert names == ["<a&b>.json"]
    assert "http" not in english.replace("http://www.w3.org/2000/svg", "")
    assert "never rehearsed" in drawn({}, "en")
    with pytest.raises(BadInputError, match="no language fr"):
        drawn(sources, "fr")


def test_every_message_of_the_pictures_is_translated_and_no_other() -> None:
    folder = resources.files("runbooks.drills").joinpath("templates")
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir()]
    messages = {m for text in texts for m in re.findall(r'_\("([^"]+)"', text)}
    file = resources.files("runbooks.drills.reports").joinpath("locale", "en", "LC_MESSAGES", "pictures.po")
    with file.open("rb") as stream:
        translated = {str(m.id) for m in read_po(stream) if m.id and m.string}
    assert translated == messages
