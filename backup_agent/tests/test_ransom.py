"""With every key that a host holds all that is stored is written over; it comes back as it was before."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from bed_kit import unlike_source
from server_kit import Agent, Bed, eventually, lacking
from store_kit import Region, free_port, in_a

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(900),
]
JUNK = b"pay, or all of it stays like this"


@pytest.fixture
def ransomed(bed: Bed, tmp_path: Path) -> Iterator[tuple[Agent, datetime]]:
    """Copies of both regions after the attack, and when it began."""
    regions = {}
    for name, region in bed.agent.regions.items():
        regions[name] = Region(name, tmp_path / name, free_port(), secrets=region.secrets)
        subprocess.run(["cp", "-a", str(region.folder), str(tmp_path / name)], check=True)
        regions[name].start()
    agent = bed.agent.beside(tmp_path / "agent", regions)
    began = datetime.now(UTC)
    eventually(lambda: datetime.now(UTC) > began + timedelta(seconds=1), "time stands still")
    for region in regions.values():
        store = region.store()
        for item in list(store.list("")):
            store.put(item.key, JUNK, in_a(minutes=1))
        assert {store.get(item.key) for item in store.list("")} == {JUNK}
    yield agent, began
    for region in regions.values():
        region.stop()


def test_it_is_seen_and_comes_back_as_of_before(
    bed: Bed, ransomed: tuple[Agent, datetime], tmp_path: Path
) -> None:
    agent, before = ransomed
    checked = json.loads(agent.run("check", "--region", "far").stdout)
    assert not checked["ok"]
    target, opens = tmp_path / "restored/data", str(bed.agent.folder / "identity")
    words = ["restore", "--to", str(target), "--from", "far", "--identity", opens, "--gtid", bed.executed]
    assert agent.run(*words).returncode != 0
    done = agent.run(*words, "--as-of", before.isoformat())
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    assert unlike_source(bed, target) == []
    again = json.loads(agent.run("check", "--region", "far", "--all", "--as-of", before.isoformat()).stdout)
    assert (again["problems"], again["repositories"]) == ([], ["mysql"]), again
    listed = json.loads(agent.run("list", "--region", "far", "--as-of", before.isoformat()).stdout)
    assert {e["id"] for e in listed["entries"]} >= {base["id"] for base in bed.bases}
