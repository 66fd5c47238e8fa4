"""A process inside a host is found by its number there, and no other namespace's of that number."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from runbooks.drills.faults import inside
from runbooks.drills.faults.inside import outer_pid
from tests.unit.runbooks.faults.local import LAB, place_at
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SCRIPT = "sleep 60 & sleep 61; exit"
ALONE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", SCRIPT]


@pytest.fixture
def first() -> Generator[int]:
    """First process of a PID namespace of its own, by its number outside."""
    with subprocess.Popen(ALONE) as parent:
        children = psutil.Process(parent.pid).children
        yield eventually(children, seconds=10, every=0.05)[0].pid
        parent.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_a_process_of_a_host_is_found_from_outside(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{LAB.estate}-db-1"
    monkeypatch.setattr(inside, "qualified", lambda *_: name)
    monkeypatch.setattr(inside, "containers", lambda _: {name: SimpleNamespace(pid=first)})
    place = place_at(tmp_path)
    assert outer_pid(place, "db-1", 1) == first
    found = eventually(lambda: outer_pid(place, "db-1", 2), seconds=10, every=0.05)
    assert psutil.Process(found).name() == "sleep"
    assert outer_pid(place, "db-1", 99) == 0
