"""The proof waits for agents that were stopped: what they sent before the stop is no sign of life."""

from __future__ import annotations

import time

import pytest

from cli import steps
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.steps.model import Context


@pytest.mark.parametrize("changed", [0, 1])
def test_after_a_change_only_new_pulses_count(monkeypatch: pytest.MonkeyPatch, changed: int) -> None:
    asked: list[float] = []

    def wait(*_: object, since: float = 0) -> None:
        asked.append(since)

    monkeypatch.setattr(steps, "wait_until_watched", wait)
    estate = load_estate("lab")
    began = time.time()
    (heard,) = [s for s in steps.steps_of(estate) if s.name == "watched"]
    heard.run(Context(estate, "lab", EstatePaths("lab"), lambda _: None, changed=changed))
    assert [since >= began for since in asked] == [bool(changed)]
