"""Every decision can be found: in the list of decisions, and in the site's navigation."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECORDS = sorted((ROOT / "docs/decisions").glob("0*.md"))


@pytest.mark.parametrize("place", ["docs/decisions/README.md", "mkdocs.yml"])
def test_every_decision_is_listed(place: str) -> None:
    listed = (ROOT / place).read_text(encoding="utf-8")
    assert RECORDS
    assert [r.name for r in RECORDS if r.name not in listed] == []
