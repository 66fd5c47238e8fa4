"""`drill show`, `report` and `verify` on evidence without a lab, held to their schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.paths import EstatePaths
from tests.drill_folders import evidence
from tests.unit.cli.test_contract import result_of

if TYPE_CHECKING:
    from pathlib import Path

NAME = "mysql-writer-kill"


@pytest.fixture
def drills(tmp_path: Path) -> Path:
    """The folder of drills of a state in which one was run."""
    paths = EstatePaths("lab", tmp_path / "state")
    evidence(paths.drills)
    return paths.drills


def test_show_says_what_it_would_do_and_what_its_last_run_showed(drills: Path, tmp_path: Path) -> None:
    code, result = result_of("drill", "show", NAME, state=tmp_path)
    assert (code, result["runs"], result["last"]["verdict"]) == (0, 1, "passed")
    assert result["drill"]["method"][0]["faults"][0]["kind"] == "process-killed"
    code, result = result_of("drill", "show", "no-such", state=tmp_path)
    assert code == 4
    assert NAME in result["error"]["hint"]


def test_a_report_is_made_copied_and_verified(drills: Path, tmp_path: Path) -> None:
    code, made = result_of("drill", "report", "--to", str(tmp_path / "stick"), state=tmp_path)
    assert (code, made["troubles"], len(made["pages"])) == (0, [], 4)
    assert {row["event"] for row in made["timeline"]} >= {"fault", "first-good-write", "undone"}
    assert made["copy"].startswith(str(tmp_path / "stick"))
    code, found = result_of("drill", "verify", made["copy"], "--key", made["key"], state=tmp_path / "other")
    assert (code, found["head"]) == (0, None)
    assert [r["evidence"] for r in found["reports"]] == ["whole"] * 5
    code, found = result_of("drill", "verify", str(drills), "--head", made["head"], state=tmp_path)
    assert (code, found["head"]) == (0, made["head"])
    code, again = result_of("drill", "report", "--to", str(tmp_path / "stick"), state=tmp_path)
    assert (code, "there already" in again["error"]["message"]) == (4, True)


def test_what_is_refused_says_which_check_and_which_file(drills: Path, tmp_path: Path) -> None:
    _, made = result_of("drill", "report", state=tmp_path)
    page = next(p for p in drills.glob("*/report.en.html"))
    page.write_bytes(page.read_bytes().replace(b"Passed", b"passed", 1))
    code, found = result_of("drill", "verify", str(drills), "--key", made["key"], state=tmp_path)
    assert (code, found["error"]["where"]) == (1, str(page))
    assert found["error"]["message"].startswith("page: ")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--key", "ed25519:abc"), "is not a key"),
        (("--head", "twelve"), "is no head"),
        ((), "whose reports"),
    ],
)
def test_a_mistake_is_bad_input(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    code, result = result_of("drill", "verify", str(tmp_path), *words, state=tmp_path)
    assert code == 4
    assert why in result["error"]["message"] + result["error"]["hint"]
