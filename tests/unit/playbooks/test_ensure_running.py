"""A unit is restarted when, and only when, it is down or older than its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "playbooks/roles/base/files/ensure_running.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return load_program(SOURCE)


def test_systemds_time_is_read_as_unix_time(program: ModuleType) -> None:
    assert program.started_at("Thu 1970-01-01 00:01:40.500000 UTC") == 100.5
    assert program.started_at("n/a") is None
    assert program.started_at("") is None


@pytest.mark.parametrize(
    ("state", "started", "changes", "stale"),
    [
        ("active", 100.0, [99.0], False),
        ("active", 100.0, [], False),
        ("active", 100.0, [99.0, 100.1], True),
        ("inactive", 100.0, [99.0], True),
        ("failed", 100.0, [], True),
        ("active", None, [], True),
        ("reloading", 100.0, [99.0], False),
    ],
)
def test_a_unit_is_stale(
    program: ModuleType, state: str, started: float | None, changes: list[float], stale: bool
) -> None:
    assert program.is_stale(state, started, changes) is stale


@pytest.mark.parametrize(
    ("states", "settled"),
    [
        (["reloading", "reloading", "active"], "active"),
        (["activating", "failed"], "failed"),
        (["active"], "active"),
    ],
)
def test_a_state_that_passes_is_waited_for(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, states: list[str], settled: str
) -> None:
    monkeypatch.setattr(program, "PERIOD_SECONDS", 0)
    monkeypatch.setattr(program, "_show", lambda *_: states.pop(0))
    assert program._settled("haproxy", 5.0) == settled
    assert states == []


def test_a_unit_that_never_arrives_is_given_up(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "PERIOD_SECONDS", 0)
    monkeypatch.setattr(program, "_show", lambda *_: "activating")
    assert program._settled("haproxy", 0.05) == "activating"
