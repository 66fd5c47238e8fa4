"""Every relative link of a page that people read leads to a file that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def broken(page: Path, text: str) -> list[str]:
    targets = [found for found in LINK.findall(text) if "://" not in found]
    return [target for target in targets if not (page.parent / target).exists()]


def test_there_are_pages_and_a_broken_link_is_found() -> None:
    assert len(PAGES) > 20
    assert broken(ROOT / "README.md", "[a](README.md) [b](nowhere.md#x) [c](https://x/y)") == ["nowhere.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []
