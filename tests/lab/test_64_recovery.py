"""When no group serves: power lost everywhere, a majority gone for good, a switch killed half-way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab.names import qualified
from tests.lab.harness import ROOT
from tests.lab.hospital import all_acknowledged, arrive, new_results
from tests.lab.long import long
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.lab.harness import Lab

KILLS = 3


def whole(lab: Lab) -> None:
    eventually(lambda: lab.yiyun("status").json["problems"] == [], seconds=180, every=1.0)


def podman(lab: Lab, *words: str, host: str) -> None:
    command = ["podman", *words, qualified(lab.estate.estate, host)]
    subprocess.run(command, check=True, capture_output=True)


def end(lab: Lab, *members: str) -> None:
    """The servers' processes are gone at once, and nothing starts them again."""
    for member in members:
        lab.on(member, "systemctl", "kill", "--signal=SIGKILL", "mysql")
        lab.on(member, "systemctl", "stop", "mysql")


def test_after_a_loss_of_power_the_group_forms_on_who_has_the_most(lab: Lab) -> None:
    """The third member is behind: it went before the last results were stored."""
    end(lab, "db-3")
    orders = new_results(lab, 3)
    eventually(lambda: all_acknowledged(lab), seconds=60)
    arrive(lab, orders)
    end(lab, "db-1", "db-2")
    answer = lab.yiyun("db", "recover", "--yes")
    assert (answer.code, answer.json.get("changed")) == (0, True), answer.json
    assert answer.json["could_lose"] == []
    assert set(answer.json["members"].values()) == {"ONLINE"}, answer.json
    whole(lab)
    arrive(lab, orders)
    again = lab.yiyun("db", "recover", "--yes")
    assert (again.code, again.json["changed"]) == (0, False)


@long
@pytest.mark.parametrize("frozen_first", [False, True])
def test_a_majority_gone_for_good_is_given_up_only_when_it_is_named_and_shows_no_life(
    lab: Lab, frozen_first: bool
) -> None:
    """A host that stands still takes connections: it may be alive, and stop the recovery."""
    orders = new_results(lab, 3)
    arrive(lab, orders)
    given_up = ("--without", "db-1", "--without", "db-2")
    try:
        if frozen_first:
            for member in ("db-1", "db-2"):
                podman(lab, "pause", host=member)
            eventually(lambda: lab.yiyun("db", "status").json["writer"] is None, seconds=120, every=1.0)
            alive = lab.yiyun("db", "recover", *given_up, "--yes")
            assert (alive.code, "two groups would serve" in alive.json["error"]["message"]) == (3, True)
        for member in ("db-1", "db-2"):
            podman(lab, "kill", "--signal=KILL", host=member)
        eventually(lambda: lab.yiyun("db", "status").json["writer"] is None, seconds=120, every=1.0)
        unnamed = lab.yiyun("db", "recover", "--without", "db-1", "--yes")
        assert (unnamed.code, "db-2" in unnamed.json["error"]["message"]) == (3, True), unnamed.json
        assert "--without db-1 --without db-2" in unnamed.json["error"]["hint"]
        assert lab.yiyun("db", "recover", *given_up).code == 3, "without --yes nobody is given up"
        done = lab.yiyun("db", "recover", *given_up, "--yes")
        assert (done.code, done.json.get("lost")) == (0, ["db-1", "db-2"]), done.json
        assert any("lost for good" in sentence for sentence in done.json["could_lose"])
        assert eventually(lambda: lab.yiyun("db", "status").json["writer"], seconds=120, every=1.0) == "db-3"
        arrive(lab, orders)
        later = new_results(lab, 2)
        arrive(lab, later)
    finally:
        for member in ("db-1", "db-2"):
            with suppress(subprocess.CalledProcessError):
                podman(lab, "unpause", host=member)
        returned = lab.yiyun("lab", "up", "--yes")
    assert returned.code == 0, returned.json
    whole(lab)
    arrive(lab, [*orders, *later])


@pytest.mark.parametrize("number", range(KILLS))
def test_a_switch_that_is_killed_at_any_moment_is_put_back_by_one_command(lab: Lab, number: int) -> None:
    after = random.Random(number).uniform(0.8, 2.8)  # noqa: S311  a seed that can be repeated
    argv = [sys.executable, "-m", "cli.main", "db", "switch", "--yes", "--json", "--estate", str(lab.source)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True) as switch:
        with suppress(subprocess.TimeoutExpired):
            switch.wait(after)
        with suppress(ProcessLookupError):
            os.killpg(switch.pid, signal.SIGKILL)
    repaired = lab.yiyun("db", "status", "--repair").json["repaired"]
    print(f"killed after {after:.2f} s ({switch.returncode}): {repaired}")  # noqa: T201
    seen = lab.yiyun("db", "status").json
    assert {r["writer"] for r in seen["routers"]} == {seen["writer"]}, seen
    arrive(lab, new_results(lab, 1))
    whole(lab)
    moved = lab.yiyun("db", "switch", "--yes")
    assert moved.code == 0, moved.json
