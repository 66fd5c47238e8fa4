"""Shipped drills rest on what exists and rehearse a page; a file of one's own is judged by its words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError
from runbooks.drills.catalogue import find_drill, shipped
from runbooks.drills.ground import PROBES, TOOLS

if TYPE_CHECKING:
    from runbooks.drills.model import Drill

PAGES = Path(__file__).parents[3] / "runbooks" / "procedures"


@pytest.mark.parametrize("drill", shipped().values(), ids=lambda d: d.name)
def test_a_shipped_drill_rests_on_what_exists(drill: Drill) -> None:
    assert (PAGES / f"{drill.procedure}.md").exists()
    assert set(drill.hypothesis) <= set(PROBES)
    assert {fault.kind for phase in drill.method for fault in phase.faults} <= set(TOOLS)


def test_the_file_of_a_drill_has_its_name() -> None:
    folder = Path(__file__).parents[3] / "runbooks" / "drills" / "library"
    assert {p.stem for p in folder.glob("*.yaml")} == set(shipped())


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(BadInputError) as refused:
        find_drill("mysql-writer-kil")
    assert "mysql-writer-kill" in refused.value.hint


def test_an_unknown_fault_is_named_with_its_place(tmp_path: Path) -> None:
    text = (PAGES.parent / "drills" / "library" / "mysql-writer-kill.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("process-killed", "process-kiled"), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"method\.0\.faults\.0.*process-kiled"):
        find_drill(str(path))


def test_what_is_no_yaml_and_what_is_no_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(BadInputError, match="no file"):
        find_drill(str(path))
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(BadInputError, match="is not YAML"):
        find_drill(str(path))
