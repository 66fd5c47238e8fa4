"""Logical names stand in the engine's state: renaming one would delete and create what it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.estate.loading import load_estate
from infra.estate.plan import plan_resources

SNAPSHOT = Path(__file__).parent / "snapshots" / "logical_names.json"


@pytest.mark.parametrize("estate", ["lab", "yucheng"])
def test_logical_names_never_change(estate: str) -> None:
    promised = json.loads(SNAPSHOT.read_text(encoding="utf-8"))[estate]
    assert [r.logical_name for r in plan_resources(load_estate(estate))] == promised


@pytest.mark.parametrize("estate", ["lab", "yucheng"])
def test_each_resource_comes_after_what_it_needs(estate: str) -> None:
    seen: set[str] = set()
    for resource in plan_resources(load_estate(estate)):
        assert seen.issuperset(resource.needs)
        seen.add(resource.logical_name)
