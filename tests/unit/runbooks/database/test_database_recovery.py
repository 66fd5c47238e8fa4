"""When no group serves: what is safe, what is refused, and what is said to be lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.errors import BadInputError, RefusedError
from infra.estate.loading import load_estate
from runbooks.database.picture import Member, Picture, Router
from runbooks.database.recovering import prepare, reached_from
from runbooks.database.recovery import RecoverPlan, could_lose, plan_recovery, silent_targets

NAMES = ("db-1", "db-2", "db-3")
CUT = {"db-1": "ONLINE", "db-2": "UNREACHABLE", "db-3": "UNREACHABLE"}
DEAD_ROUTER = Router("app-1", answers=True, writer="db-2", status=dict.fromkeys(NAMES, "DOWN"), sessions={})


def stopped(name: str, executed: str = "a:1-9", **more: Any) -> Member:
    return replace(Member(name, answers=True, state="OFFLINE", executed=executed), **more)


def cut(name: str) -> Member:
    return Member(name, answers=True, state="ONLINE", view=CUT, executed="a:1-9", received="a:1-10")


def silent(name: str) -> Member:
    return Member(name, problem="timed out")


def seen(*members: Member, routers: tuple[Router, ...] = (DEAD_ROUTER,)) -> Picture:
    return Picture(members, routers)


def plan(found: Picture, without: tuple[str, ...] = (), up: Any = (), reached: Any = None) -> RecoverPlan:
    return plan_recovery(found, up, without, reached or {})


LAST = seen(cut("db-1"), silent("db-2"), silent("db-3"))
GONE = ("db-2", "db-3")


def test_after_a_loss_of_power_with_every_member_there_nothing_can_be_lost() -> None:
    found = plan(seen(stopped("db-1"), stopped("db-2"), stopped("db-3")))
    assert (found.harmless, found.lost, found.could_lose) == (True, (), ())


def test_a_group_that_serves_needs_no_decision_also_with_a_member_out() -> None:
    serving = {"db-1": "ONLINE", "db-2": "ONLINE"}
    both = [Member(n, answers=True, state="ONLINE", view=serving) for n in ("db-1", "db-2")]
    assert plan(seen(*both, silent("db-3"))) == RecoverPlan("db-1", (), True, ())


def test_a_silent_member_stops_it_and_the_way_on_is_named_with_its_price() -> None:
    with pytest.raises(RefusedError) as refused:
        plan(LAST)
    assert "db-2: timed out" in refused.value.message
    assert "acknowledged after the survivors heard" in refused.value.message
    assert "--without db-2 --without db-3 --yes" in refused.value.hint
    with pytest.raises(RefusedError, match="db-3 does not answer"):
        plan(LAST, without=("db-2",))


def test_members_that_are_gone_for_good_are_given_up_when_nothing_speaks_for_their_life() -> None:
    found = plan(LAST, GONE, up={"db-1", "app-1"})
    assert (found.judge, found.lost, found.harmless) == ("db-1", GONE, False)
    assert any("last led to a lost member" in line for line in found.could_lose)


@pytest.mark.parametrize(
    ("found", "up", "reached", "words"),
    [
        (LAST, {"db-1", "db-2"}, {}, "the host db-2 answers by SSH"),
        (LAST, set(), {"db-3": ["app-1", "db-1"]}, "app-1, db-1 can connect to db-3"),
        (
            replace(LAST, routers=(replace(DEAD_ROUTER, status={"db-2": "UP 1/2"}),)),
            set(),
            {},
            "the router on app-1 reaches db-2",
        ),
        (
            replace(LAST, routers=(replace(DEAD_ROUTER, sessions={"db-3": 1}),)),
            set(),
            {},
            "the router on app-1 reaches db-3",
        ),
        (replace(LAST, routers=(Router("app-1"),)), set(), {}, "no router answers"),
    ],
)
def test_any_sign_of_life_of_a_lost_member_refuses(found: Picture, up: Any, reached: Any, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plan(found, GONE, up, reached)
    assert words in refused.value.message
    assert "two groups would serve" in refused.value.message


def test_a_member_that_answers_is_never_given_up_and_a_wrong_name_is_bad_input() -> None:
    with pytest.raises(RefusedError, match="db-1 answers: it is not lost"):
        plan(LAST, ("db-1", *GONE))
    with pytest.raises(BadInputError, match="db-9"):
        plan(LAST, ("db-9",))
    with pytest.raises(RefusedError, match="no member answers"):
        plan(seen(*map(silent, NAMES)), NAMES)


def test_the_fullest_survivor_is_the_one_to_ask() -> None:
    members = (stopped("db-1", "a:1-5", missing="a:6-9"), stopped("db-2"), silent("db-3"))
    found = plan(seen(*members), ("db-3",))
    assert found.judge == "db-2"
    assert any("lacks 4 of another survivor" in line for line in found.could_lose)


def test_the_price_says_when_no_router_led_to_a_lost_member() -> None:
    lines = list(could_lose(replace(LAST, routers=(replace(DEAD_ROUTER, writer="db-1"),)), GONE))
    assert lines[-1] == "no router that answers led to a lost member"
    assert "a:1-9,a:1-10" in lines[0]


def test_signs_of_life_are_looked_for_where_silent_members_stood() -> None:
    where = silent_targets(LAST, {n: f"10.0.0.{i}" for i, n in enumerate(NAMES)}, (22, 3306))
    assert where == {
        "db-2": [("10.0.0.1", 22), ("10.0.0.1", 3306)],
        "db-3": [("10.0.0.2", 22), ("10.0.0.2", 3306)],
    }


class Host:
    """A host's program that says what it is told to."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []

    def ask(self, what: str, *, seconds: float = 5, **_: Any) -> dict[str, Any]:
        self.asked.append(what)
        return self.answers.get(what, {"open": []})


def test_hosts_that_can_connect_are_named() -> None:
    on = {"app-1": Host(reach={"open": [["10.0.0.1", 22]]}), "db-1": Host(reach={"open": []})}
    assert reached_from(on, [("10.0.0.1", 22)]) == ["app-1"]


def test_servers_that_can_be_started_are_started_first() -> None:
    looks = [LAST, seen(stopped("db-1"), stopped("db-2"), silent("db-3"))]

    class Hands:
        def look(self) -> Picture:
            return looks.pop(0)

    on = {"db-1": Host(), "db-2": Host(), "app-1": Host(reach={"open": []})}
    said: list[str] = []
    with pytest.raises(RefusedError, match="db-3 does not answer"):
        prepare(load_estate("lab"), Hands(), on, (), said.append)  # pyright: ignore[reportArgumentType]
    assert (on["db-2"].asked, on["db-1"].asked) == (["start", "reach"], ["reach"])
    assert said[0] == "starting the server on db-2"
