"""What the benchmark makes of its runs, and that it does not call a failure a time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.backup_benchmark import looks
from tests.backup_benchmark.course import described, in_turn
from tests.backup_benchmark.loading import Loaded
from tests.backup_benchmark.result import budgets, ratio, told
from tests.backup_benchmark.stopwatch import FailedError, Run, phases, timed
from yiyun_backup.catalogue import TableSum

if TYPE_CHECKING:
    from pathlib import Path

needs_hyperfine = pytest.mark.skipif(shutil.which("hyperfine") is None, reason="hyperfine is not here")


def run(seconds: float, **phases_s: float) -> Run:
    names = {name.replace("_", " "): taken for name, taken in phases_s.items()}
    return Run(seconds, seconds / 2, 0.5, int(seconds * 10), names, {})


def test_steps_last_until_the_next_one() -> None:
    lines = [(0.5, "clone 0%"), (2.0, "save 0%"), (3.0, "save 41%, 63.0 MB/s, 12 s left"), (3.5, "a warning")]
    assert phases([*lines, (4.0, "copy to far 0%")], 9.0) == {"clone": 1.5, "save": 2.0, "copy to far": 5.0}
    assert phases([(1.0, "rclone says nothing of the kind")], 2.0) == {}


def test_a_ratio_is_of_the_pairs_and_not_of_the_best() -> None:
    assert ratio([10, 20, 10], [10, 10, 30]) == {"ratio": 1.0, "pairs": [1.0, 0.5, 3.0]}
    with pytest.raises(ValueError, match="shorter"):
        ratio([1, 2], [1])


def test_what_is_told_of_a_command() -> None:
    found = told([run(2, save=1), run(4, save=3), run(3, save=1)], 600_000_000)
    assert found["seconds"] == 3
    assert found["mb_per_s"] == 200
    assert found["runs_s"] == [2, 4, 3]
    assert found["largest_process_mib"] == 40
    assert found["phases_s"] == {"save": 1}


@pytest.mark.parametrize(("ours", "met"), [(20, True), (21, False)])
def test_the_budget_of_a_backup_is_the_whole_of_it_beside_both_regions(ours: float, met: bool) -> None:
    measured = {
        "agent base": [run(ours, save=2, copy_to_far=5)],
        "rclone out": [run(6)],
        "rclone over": [run(4)],
        "rclone back": [run(7)],
        "agent restore base": [run(10)],
        "agent restore newest": [run(14)],
    }
    found = budgets(measured)
    assert found["backup"]["met"] is met
    assert found["restore"] == {"ratio": 0.7, "pairs": [0.7], "target": 0.7, "met": True}
    assert found["save alone, to one region"]["ratio"] == 3
    assert found["copy alone, from region to region"]["ratio"] == 0.8
    assert found["restore of the newest state, with the log"]["ratio"] == 0.5


def test_another_one_begins_in_each_round() -> None:
    called: list[int] = []
    turns = [lambda n=n: called.append(n) for n in range(3)]
    for number in range(2):
        for turn in in_turn(turns, number):
            turn()
    assert called == [0, 1, 2, 1, 2, 0]


def test_the_data_says_how_well_it_compresses() -> None:
    assert described(Loaded({"resident": 1}, 2.0), 3 * 2**30, 2**30)["zstd_3_ratio"] == 3


def test_a_byte_that_differs_is_found_and_a_file_that_is_missing(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "yiyun").mkdir(parents=True)
        (folder / "yiyun/resident.ibd").write_bytes(b"as it was")
    assert looks.files(one, two)["files"] == 1
    (two / "yiyun/resident.ibd").write_bytes(b"as it wAs")
    with pytest.raises(AssertionError, match="resident"):
        looks.files(one, two)
    (two / "yiyun/resident.ibd").unlink()
    with pytest.raises(AssertionError, match="resident"):
        looks.files(one, two)


def test_what_was_read_anew_replaces_its_schema() -> None:
    def table(schema: str, rows: int) -> TableSum:
        return TableSum(schema_name=schema, name="t", rows=rows, checksum="0" * 32)

    assert looks.changed([table("bank", 1), table("yiyun", 2)], [table("bank", 3)]) == [
        table("yiyun", 2),
        table("bank", 3),
    ]


@needs_hyperfine
def test_a_command_is_timed_with_its_answer_and_steps() -> None:
    found = timed(["bash", "-c", "echo save 0% >&2; sleep 0.2; echo '{\"a\": 1}'"])
    assert found.answer == {"a": 1}
    assert 0.2 <= found.phases["save"] <= found.seconds
    assert found.largest_process_mib >= 1


@needs_hyperfine
def test_a_command_that_fails_has_no_time() -> None:
    with pytest.raises(FailedError, match=r"bash.*: 3\n(?s:.*)no room"):
        timed(["bash", "-o", "pipefail", "-c", "(echo no room >&2; exit 3) | cat"])
