"""A journal survives the death of its writer, and a changed one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError
from runbooks.drills.journal import Journal, read_journal

if TYPE_CHECKING:
    from pathlib import Path


def test_events_come_back_in_order_with_both_clocks(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.note("fault", fault={"kind": "host-frozen", "host": "数据库"})
    journal.note("ended")
    first, last = read_journal(journal.path)
    assert first["fault"] == {"kind": "host-frozen", "host": "数据库"}
    assert (first.name, last.name) == ("fault", "ended")
    assert first.mono <= last.mono
    assert first.at.endswith("+00:00")
    assert journal.path.stat().st_mode & 0o077 == 0


def test_half_a_line_is_passed_over_and_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path).note("fault", number=1)
    with path.open("ab") as file:
        file.write(b'{"event": "fau')
    assert [e.name for e in read_journal(path)] == ["fault"]
    Journal(path).note("resumed")
    assert [e.name for e in read_journal(path)] == ["fault", "resumed"]


def test_a_changed_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    for number in range(3):
        journal.note("looked", number=number)
    path.write_text(path.read_text().replace('"number": 1}', '"number": 1'))
    with pytest.raises(BadInputError, match=r"j.jsonl:2 is no event"):
        read_journal(path)
