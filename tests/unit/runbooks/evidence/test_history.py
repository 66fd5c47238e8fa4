"""A history file is read as it was written, and refused when it was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError
from runbooks.drills.evidence.history import Operation, read_history, write_lines

if TYPE_CHECKING:
    from pathlib import Path

TIMES = {"intended": 0.0, "began": 0.0, "ended": 0.1}
OPERATIONS = [
    Operation(client=1, number=n, kind="append", target="list-1", value=n, outcome="ok", **TIMES)
    for n in range(3)
]


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text(write_lines(OPERATIONS), encoding="utf-8")
    assert read_history(tmp_path / "h.jsonl") == OPERATIONS


def test_the_torn_line_of_a_killed_writer_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text(write_lines(OPERATIONS)[:-20], encoding="utf-8")
    assert read_history(tmp_path / "h.jsonl") == OPERATIONS[:-1]


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"client": 1}'])
def test_a_line_that_is_no_operation_is_named(tmp_path: Path, line: str) -> None:
    first, *rest = write_lines(OPERATIONS).splitlines(keepends=True)
    (tmp_path / "h.jsonl").write_text(first + line + "\n" + "".join(rest), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"h.jsonl:2 is no operation"):
        read_history(tmp_path / "h.jsonl")
