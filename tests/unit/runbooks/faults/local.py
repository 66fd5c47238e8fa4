"""A host for tests of faults: this machine, its programs run as a lab's would be."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.drills.faults import inside
from runbooks.drills.faults.tool import Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

LAB = load_estate("lab")


def place_at(root: Path) -> Place:
    return Place(LAB, EstatePaths("lab", root), "abc123")


def run_here(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let every program for a host run on this machine. Returns what is run, as it comes."""
    asked: list[list[str]] = []

    def here(
        _paths: EstatePaths, _host: str, argv: Sequence[str], *, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        asked.append(list(argv))
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)

    monkeypatch.setattr(inside, "run_in_host", here)
    return asked
