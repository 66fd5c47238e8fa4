"""The taker of memory: takes, is followed when it is killed, and ends by itself."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import psutil

from tests.waiting import eventually

PROGRAM = resources.files("runbooks.drills.faults").joinpath("hog.py").read_text(encoding="utf-8")
MIB = 1024 * 1024


def test_systemd_would_expand_nothing_of_it() -> None:
    assert not set("%$") & set(PROGRAM)


def test_it_holds_what_it_was_told_and_ends_by_itself() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "24", "1.5"]) as hog:
        found = psutil.Process(hog.pid)
        eventually(lambda: any(c.memory_info().rss > 24 * MIB for c in found.children()), seconds=10)
        assert hog.wait(15) == 0


def test_a_killed_child_is_followed_by_another() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "4", "5"]) as hog:
        try:
            found = psutil.Process(hog.pid)
            eventually(lambda: bool(found.children()), seconds=10)
            first = found.children()[0]
            first.kill()
            eventually(lambda: any(c.pid != first.pid for c in found.children()), seconds=10)
        finally:
            for child in psutil.Process(hog.pid).children():
                child.kill()
            hog.kill()
