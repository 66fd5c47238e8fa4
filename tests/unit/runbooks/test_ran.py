"""What past drills showed is computed from their evidence; what is not whole shows nothing."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from infra.errors import BadInputError
from infra.paths import EstatePaths
from runbooks.drills.comparison import beside, figures, read_sources
from runbooks.drills.ran import Ran, by_drill, ran, read_ran, times
from runbooks.drills.soak import Result
from tests.drill_folders import evidence

if TYPE_CHECKING:
    from pathlib import Path


BEGAN = datetime(2026, 11, 20, tzinfo=UTC)


def run(drill: str, verdict: str, rto: float | None = None, **more: Any) -> Ran:
    return Ran.model_validate({"drill": drill, "at": BEGAN, "verdict": verdict, "rto_s": rto} | more)


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    """Three drills of one name, the middle one not whole."""
    made = EstatePaths("x", tmp_path)
    for day in ("20261101", "20261102", "20261103"):
        folder = evidence(tmp_path / "made")
        shutil.move(folder.path, made.drills / f"{day}T000000Z-mysql-writer-kill-abc123")
    (made.drills / "20261102T000000Z-mysql-writer-kill-abc123" / "history.jsonl").write_text("{}\n")
    return made


def test_a_drill_is_read_from_its_folder_with_what_it_broke(tmp_path: Path) -> None:
    found = read_ran(evidence(tmp_path))
    assert (found.drill, found.verdict, found.hit) == ("mysql-writer-kill", "passed", ["db-1"])
    assert (found.acknowledged, found.lost, found.objective_rto_s) == (60, 0, 1.5)
    assert found.rto_s is not None
    assert found.counts


def test_evidence_that_is_not_whole_is_unreadable_and_counts_for_nothing(paths: EstatePaths) -> None:
    found = ran(paths)
    assert [r.verdict for r in found] == ["passed", "unreadable", "passed"]
    bad = found[1]
    assert (bad.drill, bad.at, bad.counts) == ("mysql-writer-kill", datetime(2026, 11, 2, tzinfo=UTC), False)
    assert "history.jsonl:1" in bad.reasons[0]


def test_the_newest_of_each_drill_are_enough_for_a_preview(paths: EstatePaths) -> None:
    assert [r.verdict for r in ran(paths, newest=1)] == ["passed"]
    assert [r.verdict for r in ran(paths, newest=2)] == ["passed", "unreadable", "passed"]
    assert ran(EstatePaths("y", paths.root.parent)) == []


def test_void_and_aborted_runs_give_no_times() -> None:
    runs = [run("a", "passed", 0.4), run("a", "void", 9.0), run("a", "aborted", 9.0), run("a", "failed", 2.0)]
    assert times(runs) == [0.4, 2.0]


def test_figures_hide_neither_failures_nor_losses() -> None:
    runs = [run("a", "passed", n / 100) for n in range(1, 100)]
    runs += [
        run("a", "failed", None, lost=2, stale_reads=1, failed_requests=3, conflicts=5, two_writers_s=0.2),
        run("a", "void", None, lost=1, conflicts=1, two_writers_s=1.5),
        run("a", "unreadable"),
    ]
    found = figures(runs)
    assert (found.runs, found.passed, found.failed, found.void, found.aborted) == (102, 99, 1, 1, 1)
    assert (found.rto_p50_s, found.rto_p99_s, found.rto_max_s, found.never) == (0.5, 0.99, 0.99, 1)
    assert (found.lost, found.stale_reads, found.failed_requests) == (3, 1, 3)
    assert (found.conflicts, found.two_writers_max_s) == (6, 1.5)
    nothing = figures([run("a", "void")])
    assert (nothing.rto_p50_s, nothing.rto_max_s) == (None, None)


def test_drills_of_one_name_stand_side_by_side_and_gaps_are_seen() -> None:
    both = beside(
        {"ours": [run("a", "passed", 0.4), run("b", "passed", 1.0)], "theirs": [run("a", "failed", 6.6)]}
    )
    assert list(both) == ["a", "b"]
    ours, theirs = both["a"]["ours"], both["a"]["theirs"]
    assert ours is not None
    assert theirs is not None
    assert (ours.rto_p50_s, theirs.rto_p50_s) == (0.4, 6.6)
    assert both["b"]["theirs"] is None


def test_sources_are_result_files_and_folders(paths: EstatePaths, tmp_path: Path) -> None:
    soak = tmp_path / "soak.json"
    entry = run("a", "passed", 0.4).model_dump() | {"number": 1, "seconds": 30, "commit": "abc"}
    given = {"command": "x", "estate": "x", "scope": "lab", "seed": 1, "count": 1, "drills": ["a"]}
    more = {"began": BEGAN, "commit": "abc", "machine": {}, "versions": {}, "runs": [entry]}
    soak.write_text(Result.model_validate(given | more).model_dump_json(), encoding="utf-8")
    drills = paths.drills
    one = min(drills.iterdir())
    read = read_sources([soak, drills, one])
    assert [len(runs) for runs in read.values()] == [1, 3, 1]
    assert list(read)[:2] == ["soak", "x"]
    assert by_drill(read["x"]).keys() == {"mysql-writer-kill"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "soak.json").write_bytes(soak.read_bytes())
    assert len(read_sources([soak, tmp_path / "other" / "soak.json"])) == 2, "told apart by their paths"
    for bad in (tmp_path / "none", tmp_path / "other", one / "drill.json"):
        with pytest.raises(BadInputError):
            read_sources([bad])
