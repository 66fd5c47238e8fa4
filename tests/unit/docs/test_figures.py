"""Every figure of the README has the command that produced it, and every result it cites is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = README.partition("## What it cost here")[2].partition("\n## ")[0]
ROWS = [
    [c.strip() for c in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| ")
]


@pytest.mark.parametrize("row", ROWS[2:], ids=lambda row: row[0][:40])
def test_every_figure_has_its_command(row: list[str]) -> None:
    _, figure, command = row
    assert re.search(r"\d", figure) or "result" in figure
    assert re.search(r"`[^`]+`", command)


def test_every_result_that_is_cited_is_there_and_says_how_it_was_got() -> None:
    cited = re.findall(r"\]\((docs/results/[^)]+)\)", README)
    assert cited
    for name in cited:
        text = (ROOT / name).read_text(encoding="utf-8")
        found = json.loads(text)["command"] if name.endswith(".json") else re.findall(r"`[^`]+`", text)
        assert found, name
