"""A verdict follows from a drill's folder alone; one that is not undone stands in the way of the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.errors import RefusedError, YiyunError
from infra.paths import EstatePaths
from runbooks.drills.conduct import refuse_unfinished, resume, summary
from runbooks.drills.folder import folders
from runbooks.drills.journal import Journal, read_journal
from runbooks.drills.workloads.offered import OFFERS
from tests.drill_folders import LAB, ORDER, OUTAGE_S, evidence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_evidence_of_a_good_drill_passes_with_its_figures(tmp_path: Path) -> None:
    found = summary(evidence(tmp_path).verdict())
    assert (found["verdict"], found["reasons"]) == ("passed", [])
    assert found["rto_s"] == pytest.approx(OUTAGE_S + 0.3, abs=0.05)
    assert (found["acknowledged"], found["lost"], found["indeterminate"]) == (60, 0, 0)


def test_one_acknowledged_write_that_nobody_holds_fails_it(tmp_path: Path) -> None:
    found = summary(evidence(tmp_path, kept=59).verdict())
    assert (found["verdict"], found["lost"]) == ("failed", 1)


def test_evidence_without_its_end_never_passes(tmp_path: Path) -> None:
    folder = evidence(tmp_path)
    lines = folder.journal.read_text(encoding="utf-8").splitlines()
    folder.journal.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert folder.verdict().word == "aborted"
    folder.held.unlink()
    assert folder.verdict().word != "passed"


def offering(monkeypatch: pytest.MonkeyPatch, leave: Callable[..., None]) -> None:
    offer = replace(OFFERS["platform"], leave=leave)
    monkeypatch.setattr("runbooks.drills.conduct.OFFERS", {**OFFERS, "platform": offer})


def test_what_a_workload_left_at_the_platform_goes_with_the_next_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = EstatePaths(LAB.estate, tmp_path)
    folder = evidence(paths.drills)
    journal = Journal(folder.journal)
    journal.note("load", kind="platform", total=0)
    journal.close()

    def cannot(*_: object) -> None:
        raise YiyunError("no router has a writer")

    calls: list[str] = []
    offering(monkeypatch, cannot)
    assert resume(LAB, paths, print) == []
    offering(monkeypatch, lambda *_: calls.append("left"))
    assert resume(LAB, paths, print) == [f"{folder.path.name}: what the platform workload made"]
    assert resume(LAB, paths, print) == []
    assert calls == ["left"], "once"
    said = [(e.name, e.fields.get("reason")) for e in read_journal(folder.journal)][-2:]
    assert said == [("not-cleared", "no router has a writer"), ("cleared", None)]


def test_a_drill_that_is_not_undone_stands_in_the_way(tmp_path: Path) -> None:
    paths = EstatePaths("x", tmp_path)
    folder = evidence(paths.drills, undone=False)
    with pytest.raises(RefusedError, match=folder.path.name) as refused:
        refuse_unfinished(paths)
    assert "drill resume" in refused.value.hint
    assert [f.path for f in folders(paths)] == [folder.path]
    journal = Journal(folder.journal)
    journal.note("undone", order=ORDER, reason="")
    journal.close()
    refuse_unfinished(paths)
