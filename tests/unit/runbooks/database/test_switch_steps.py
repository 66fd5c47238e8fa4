"""The order of a switch's steps, and what each failure leaves: with hosts that only note what is asked."""

from __future__ import annotations

import sys
import time
from typing import Any

import psutil
import pytest

from infra.errors import YiyunError
from runbooks.database import switching
from runbooks.database.ground import Hands, Tier
from runbooks.database.planning import SwitchPlan
from runbooks.database.session import BOOT, Session, program
from runbooks.database.switching import BusyError, switch
from tests.waiting import eventually

PLAN = SwitchPlan("db-1", "db-2", False, "u-2")
ELECTED = SwitchPlan("db-1", "db-2", True, "u-2")


GOOD: dict[str, dict[str, Any]] = {
    "close": {"empty": True},
    "drain": {"busy": [], "executed": "a:1-3"},
    "catch_up": {"caught_up": True},
    "ready": {"ready": True, "reasons": []},
    "held": {"held": "db-2"},
}
BUSY = {"busy": [{"user": "u", "host": "h", "id": 1}]}


class Host:
    """Notes every question in one list; answers as told, or well."""

    def __init__(self, name: str, asked: list[str], **answers: Any) -> None:
        self.name, self.asked, self.answers = name, asked, answers

    def ask(self, what: str, *, seconds: float = 5, **arguments: Any) -> dict[str, Any]:
        told = (
            f" {arguments['to']}" if what == "turn" else f" {arguments['discard']}" if what == "open" else ""
        )
        self.asked.append(f"{self.name} {what}{told}")
        answer = self.answers.get(what, GOOD.get(what, {}))
        if isinstance(answer, YiyunError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "REST_SECONDS", 0.0)


def bed(**special: dict[str, Any]) -> tuple[Hands, list[str]]:
    asked: list[str] = []
    hosts = {
        n: Host(n, asked, **special.get(n.replace("-", "_"), {})) for n in ("db-1", "db-2", "app-1", "app-2")
    }
    tier = Tier(("db-1", "db-2"), ("app-1", "app-2"), ("10.0.0.1",))
    members, routers = ({n: hosts[n] for n in names} for names in (tier.members, tier.routers))
    return Hands(tier, members, routers, {}), asked


def ordered(asked: list[str], *wanted: str) -> bool:
    return [a for a in asked if a in wanted] == list(wanted)


def test_a_switch_is_gate_wait_proof_turn_open() -> None:
    hands, asked = bed()
    done = switch(PLAN, hands, print)
    assert (done.to, done.tries) == ("db-2", 1)
    assert sorted(asked[:2]) == ["app-1 close", "app-2 close"]
    assert asked[2:5] == ["db-1 drain", "db-2 catch_up", "db-2 prove"]
    assert sorted(asked[5:7]) == ["app-1 turn db-2", "app-2 turn db-2"]
    assert sorted(asked[7:9]) == ["app-1 held", "app-2 held"]
    assert sorted(asked[9:]) == ["app-1 open True", "app-2 open True"]
    assert done.steps[0][0] == "gate closed"
    assert done.pause >= done.steps[-1][1] - 0.001


def test_a_group_with_one_primary_elects_before_the_proof() -> None:
    hands, asked = bed()
    switch(ELECTED, hands, print)
    assert ordered(asked, "db-2 catch_up", "db-1 elect", "db-2 prove", "db-2 ready", "app-1 turn db-2")


@pytest.mark.parametrize(
    "special",
    [{"app_2": {"close": {"empty": False}}}, {"db_1": {"drain": BUSY}}],
)
def test_somebody_who_stays_inside_opens_the_gate_again_each_time(special: Any) -> None:
    hands, asked = bed(**special)
    with pytest.raises(BusyError):
        switch(PLAN, hands, lambda _: None)
    assert asked.count("app-1 close") == asked.count("app-1 open False") == switching.TRIES
    assert not [a for a in asked if "turn" in a or "open True" in a]


@pytest.mark.parametrize(
    "special",
    [
        {"app_2": {"close": YiyunError("gone")}},
        {"db_1": {"drain": YiyunError("gone")}},
        {"db_2": {"catch_up": {"caught_up": False}}},
        {"db_2": {"prove": YiyunError("read-only")}},
    ],
)
def test_a_failure_before_the_turn_opens_the_gate_and_moves_nothing(special: Any) -> None:
    hands, asked = bed(**special)
    with pytest.raises(YiyunError):
        switch(PLAN, hands, print)
    assert "app-1 open False" in asked
    assert not [a for a in asked if "turn" in a]


@pytest.mark.parametrize(
    "special", [{"app_2": {"turn": YiyunError("no")}}, {"app_2": {"held": {"held": "db-1"}}}]
)
def test_a_failure_of_the_turn_turns_every_router_back_before_the_gate_opens(special: Any) -> None:
    hands, asked = bed(**special)
    with pytest.raises(YiyunError):
        switch(PLAN, hands, print)
    assert ordered(asked, "app-1 turn db-2", "app-1 turn db-1", "app-1 open True")


def test_a_program_that_is_sent_answers_and_says_why_it_cannot(tmp_path: Any) -> None:
    session = Session(
        "here", [sys.executable, "-c", BOOT], program("machine", {"directory": str(tmp_path / "x")})
    )
    session.started()
    try:
        assert session.ask("reach", targets=[], limit=0.1) == {"open": []}
        with pytest.raises(YiyunError, match="here: "):
            session.ask("nonsense")
    finally:
        session.close()
    with pytest.raises(YiyunError, match="here cannot be asked"):
        session.ask("reach", targets=[], limit=0.1)


def test_a_program_that_does_not_start_says_its_last_words() -> None:
    broken = Session("there", [sys.executable, "-c", "raise SystemExit('no python here')"], b"1\nx")
    with pytest.raises(YiyunError, match="no python here"):
        broken.started()


HOLDS = """
import subprocess, sys
child = [sys.executable, "-c", "import time; time.sleep(300)"]
print(subprocess.Popen(child, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid, file=sys.stderr)
"""


def test_what_outlives_the_program_and_holds_its_last_words_open_ends_with_it() -> None:
    """The ssh through the bastion, when the host behind it stands still: `db status` hung (measured)."""
    broken = Session("there", [sys.executable, "-c", HOLDS], b"")
    began = time.monotonic()
    with pytest.raises(YiyunError, match=r"cannot be asked: \d+") as raised:
        broken.started()
    assert time.monotonic() - began < 10
    left = int(raised.value.message.rpartition(" ")[2])
    eventually(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == "zombie", seconds=5)


def test_a_program_that_hangs_is_given_up_and_its_late_answer_is_not_taken() -> None:
    hangs = "import sys, time; print('{}', flush=True); time.sleep(60)"
    session = Session("slow", [sys.executable, "-c", hangs], b"")
    session.started()
    with pytest.raises(YiyunError, match="did not answer"):
        session.ask("look", seconds=0.2)
    with pytest.raises(YiyunError):
        session.ask("look", seconds=5)
