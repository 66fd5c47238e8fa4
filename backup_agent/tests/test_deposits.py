"""What is brought is kept as it came, in both regions, and comes back only whole."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from server_kit import Agent, Server, lacking
from store_kit import BUCKET, free_port, in_a, regions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}"),
    pytest.mark.timeout(120),
]
STATE = os.urandom(70_000)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with regions(tmp_path, "near", "far") as stores:
        made = Agent(tmp_path / "agent", Server(tmp_path / "none", free_port()), stores)
        made.write()
        yield made


def bring(agent: Agent, data: bytes, name: str = "state") -> tuple[int, dict[str, Any]]:
    argv = agent.argv("deposit", "--name", name)
    done = subprocess.run(argv, input=data, env=agent.environment(), capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout)


def fetch(agent: Agent, to: Path, region: str = "far", name: str = "state") -> tuple[int, dict[str, Any]]:
    done = agent.run("fetch", "--name", name, "--from", region, "--to", str(to))
    return done.returncode, json.loads(done.stdout)


def test_it_comes_back_as_it_came_and_the_newest_is_kept_longer(agent: Agent, tmp_path: Path) -> None:
    code, told = bring(agent, STATE)
    assert (code, told["regions"]) == (0, ["near", "far"]), told
    assert bring(agent, STATE[:-1])[0] == 0
    code, fetched = fetch(agent, tmp_path / "state")
    assert (code, fetched["bytes"]) == (0, len(STATE) - 1), fetched
    assert (tmp_path / "state").read_bytes() == STATE[:-1]
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    answered = json.loads(agent.run("fetch", "--name", "state").stdout)
    assert base64.b64decode(answered["data"]) == STATE[:-1]
    summed = json.loads((agent.folder / "state/summary.json").read_text())
    assert summed["deposit state"]["regions"] == ["near", "far"]
    assert agent.run("keep", "--region", "far").returncode == 0


def test_what_was_changed_or_is_gone_is_not_given_out_and_is_found(agent: Agent, tmp_path: Path) -> None:
    assert bring(agent, STATE)[0] == 0
    (held,) = (agent.regions["far"].folder / "objects" / BUCKET / "deposit/state").iterdir()
    held.write_bytes(STATE[:-1] + b"x")
    code, told = fetch(agent, tmp_path / "state")
    assert (code, told["error"]["code"]) == (1, "damaged"), told
    assert not (tmp_path / "state").exists()
    problems = json.loads(agent.run("check", "--region", "far").stdout)["problems"]
    assert any("has other bytes than were brought" in text for text in problems), problems
    held.unlink()
    assert fetch(agent, tmp_path / "state")[0] == 1
    assert fetch(agent, tmp_path / "state", "near")[0] == 0


def test_what_was_written_over_or_hidden_with_a_hosts_keys_is_still_there(
    agent: Agent, tmp_path: Path
) -> None:
    """Every version stays for its time; the right one is known by its hash."""
    assert bring(agent, STATE)[0] == 0
    store = agent.regions["far"].store()
    (item,) = store.list("deposit/state/")
    store.put(item.key, b"ransom", in_a(minutes=1))
    problems = json.loads(agent.run("check", "--region", "far").stdout)["problems"]
    assert any("has other bytes than were brought" in text for text in problems), problems
    assert fetch(agent, tmp_path / "state")[0] == 0
    assert (tmp_path / "state").read_bytes() == STATE


def test_what_is_none_is_refused(agent: Agent, tmp_path: Path) -> None:
    assert bring(agent, b"")[0] == 4
    assert bring(agent, STATE, "../x")[0] == 4
    code, told = fetch(agent, tmp_path / "state", name="other")
    assert (code, told["error"]["message"]) == (4, "far: no deposit other")


def test_one_region_that_answers_is_enough_and_the_other_is_named(agent: Agent) -> None:
    agent.regions["far"].stop()
    code, told = bring(agent, STATE)
    assert (code, told["regions"]) == (1, ["near"])
    assert any("far" in problem for problem in told["problems"])
    agent.regions["near"].stop()
    assert bring(agent, STATE)[1]["error"]["code"] == "store"
    agent.regions["far"].start()
    agent.regions["near"].start()
