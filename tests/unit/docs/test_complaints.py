"""The table of complaints names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "guides" / "complaints.md"
TESTS = ("tests", "app/tests", "device_gateway/tests")


def test_every_test_named_beside_a_complaint_exists() -> None:
    defined = {
        name
        for folder in TESTS
        for path in (ROOT / folder).rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [line.split("|") for line in table[2:]]
    assert len(rows) >= 12
    for _, complaint, _, tests, _ in rows:
        named = set(re.findall(r"`(test_\w+)`", tests))
        assert named, complaint
        assert named <= defined, f"{complaint.strip()}: {named - defined}"
