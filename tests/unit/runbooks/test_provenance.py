"""A result names the commit that made it, and says when the checkout was not that commit."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from runbooks.drills.provenance import RESULTS, UNKNOWN, commit

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", *author, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def test_a_changed_program_is_dirty_and_a_result_that_grows_is_not(tmp_path: Path) -> None:
    code, result = tmp_path / "runbooks" / "x.py", tmp_path / RESULTS / "x.json"
    for path in (code, result):
        path.parent.mkdir(parents=True)
        path.write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    known = git(tmp_path, "rev-parse", "--short", "HEAD").strip()
    assert commit(code.parent) == known
    result.write_text("2")
    assert commit(code.parent) == known
    code.write_text("2")
    assert commit(code.parent) == f"{known}-dirty"


def test_outside_a_checkout_nobody_knows(tmp_path: Path) -> None:
    assert commit(tmp_path) == UNKNOWN
