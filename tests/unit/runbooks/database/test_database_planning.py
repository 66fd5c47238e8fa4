"""What is seen of the database, and what a switch, a replacement and an upgrade may do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infra.errors import BadInputError, RefusedError
from runbooks.database.onhost.machine import versions_of
from runbooks.database.picture import (
    Busy,
    Member,
    Picture,
    Router,
    gaps_in,
    member_of,
    problems,
    router_of,
    transactions_in,
)
from runbooks.database.planning import (
    check_switch,
    is_back,
    plan_replace,
    plan_switch,
    room_is_enough,
    upgrade_order,
)
from runbooks.database.repairing import common_writer
from runbooks.database.replacing import copied
from runbooks.database.upgrading import Versions, check_versions, series

NAMES = ("db-1", "db-2", "db-3")
WHOLE = dict.fromkeys(NAMES, "ONLINE")


def member(name: str, **more: Any) -> Member:
    made = Member(
        name, answers=True, uuid=f"u-{name}", state="ONLINE", view=WHOLE, executed="a:1-9", ready=True
    )
    return replace(made, **more)


def router(name: str, **more: Any) -> Router:
    status = dict.fromkeys(NAMES, "UP")
    return replace(Router(name, answers=True, writer="db-1", status=status, sessions={"db-1": 3}), **more)


def picture(*changed: Member, routers: tuple[Router, ...] = (router("app-1"), router("app-2"))) -> Picture:
    others = {m.name: m for m in changed}
    return Picture(tuple(others.get(n) or member(n) for n in NAMES), routers)


def silent(name: str) -> Member:
    return Member(name, problem="timed out")


@pytest.mark.parametrize(
    ("gtids", "count", "holes"),
    [
        ("", 0, 0),
        ("5a:1-9", 9, 0),
        ("5a:1-4914:1000001-1000010,\n6b:7", 4925, 1),
        ("5a:1:3:5, 6b:1-2", 5, 2),
        ("3e11fa47-71ca-11e1-9e33-c80aa9429562:tag_1:1-3:5", 4, 1),
        ("12345678-0000-0000-0000-000000000000:1", 1, 0),  # a name that looks like numbers
    ],
)
def test_transactions_of_a_set_are_counted(gtids: str, count: int, holes: int) -> None:
    assert (transactions_in(gtids), gaps_in(gtids)) == (count, holes)


def test_a_healthy_picture_has_no_problem_and_a_safe_switch() -> None:
    assert list(problems(picture())) == []
    assert check_switch(picture()) == {"safe": True, "to": "db-2", "reason": ""}
    assert picture().writer == "db-1"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (picture(silent("db-3")), "db-3 does not answer: timed out"),
        (picture(member("db-3", state="RECOVERING")), "db-3 is RECOVERING"),
        (
            picture(member("db-3", view={"db-3": "ONLINE", "db-1": "UNREACHABLE", "db-2": "UNREACHABLE"})),
            "db-3 sees no majority",
        ),
        (picture(member("db-3", single_primary=True)), "differ in mode"),
        (
            picture(routers=(router("app-1"), Router("app-2", problem="gone"))),
            "router on app-2 does not answer: gone",
        ),
        (picture(routers=(router("app-1"), router("app-2", writer="db-2"))), "do not agree on one writer"),
        (
            picture(routers=(router("app-1", apart=("app-2",)),)),
            "app-1 is not connected to the router on app-2",
        ),
        (picture(routers=(router("app-1", left=("db-2",)),)), "left db-2 in maintenance"),
        (picture(routers=(router("app-1", sessions={"db-1": 1, "db-2": 2}),)), "2 session(s) on db-2"),
    ],
)
def test_what_is_wrong_is_said(seen: Picture, words: str) -> None:
    assert any(words in line for line in problems(seen)), list(problems(seen))


ON_2 = router("app-2", writer="db-2")


@pytest.mark.parametrize(
    ("seen", "writer"),
    [
        (picture(routers=(router("app-1"), ON_2)), "db-1"),
        (picture(member("db-1", ready=False), routers=(router("app-1"), ON_2)), "db-2"),
        (picture(routers=(router("app-1"), replace(ON_2, status={"db-1": "DOWN", "db-2": "UP"}))), "db-2"),
        (picture(routers=(Router("app-1", problem="gone"), ON_2)), "db-2"),
        (picture(routers=(router("app-1", writer=None), ON_2)), "db-2"),
        (picture(*(member(n, ready=False) for n in NAMES), routers=(router("app-1"), ON_2)), None),
        (
            picture(
                routers=(
                    router("app-1", status={"db-1": "UP", "db-2": "DOWN"}),
                    router("app-2", writer="db-2", status={"db-1": "DOWN", "db-2": "UP"}),
                )
            ),
            None,
        ),
    ],
)
def test_routers_that_differ_are_settled_on_what_each_can_reach(seen: Picture, writer: str | None) -> None:
    assert common_writer(seen) == writer


def test_a_switch_goes_to_the_first_member_that_may_or_to_the_one_that_is_named() -> None:
    assert plan_switch(picture()).to == "db-2"
    assert plan_switch(picture(), "db-3") == plan_switch(picture(), "db-3")
    plan = plan_switch(picture(member("db-2", ready=False, reasons=("a proof is late",))))
    assert (plan.old, plan.to, plan.to_uuid, plan.elected) == ("db-1", "db-3", "u-db-3", False)


@pytest.mark.parametrize(
    ("seen", "to", "words"),
    [
        (picture(), "db-1", "is the writer already"),
        (picture(routers=(router("app-1", writer=None),)), None, "no one writer"),
        (picture(routers=(router("app-1"), Router("app-2"))), None, "no one writer"),
        (
            picture(member("db-2", ready=False, reasons=("too old",))),
            "db-2",
            "may not be the writer: too old",
        ),
        (picture(member("db-2", state="RECOVERING")), "db-2", "db-2 is RECOVERING"),
        (picture(silent("db-2")), "db-2", "db-2 does not answer"),
        (picture(member("db-2", apply_queue=1001)), "db-2", "1001 transactions to apply"),
        (picture(routers=(router("app-1", status=WHOLE | {"db-2": "DOWN"}),)), "db-2", "DOWN for the router"),
        (picture(routers=(router("app-1", left=("db-3",)),)), None, "not undone on app-1"),
        (
            picture(member("db-1", busy=(Busy(7, "yiyun_app", "10.0.0.1", 4.0),))),
            None,
            "open for 4.0 s (session 7 of db-1)",
        ),
        (picture(silent("db-2"), silent("db-3")), None, "no member can take"),
    ],
)
def test_a_switch_is_refused_with_the_reason(seen: Picture, to: str | None, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plan_switch(seen, to)
    assert words in refused.value.message


def test_all_reasons_are_said_at_once_and_a_wrong_name_is_bad_input() -> None:
    with pytest.raises(RefusedError) as refused:
        plan_switch(picture(member("db-2", ready=False, reasons=("late",), apply_queue=2000)), "db-2")
    assert "late" in refused.value.message
    assert "2000" in refused.value.message
    with pytest.raises(BadInputError, match="db-9"):
        plan_switch(picture(), "db-9")


def test_of_a_group_with_one_primary_the_others_need_not_be_ready() -> None:
    members = [member(n, single_primary=True, ready=n == "db-1") for n in NAMES]
    down = {"db-1": "UP", "db-2": "DOWN", "db-3": "DOWN"}
    plan = plan_switch(picture(*members, routers=(router("app-1", status=down),)), "db-3")
    assert (plan.elected, plan.to_uuid) == (True, "u-db-3")


def test_a_member_may_be_replaced_while_the_others_are_a_majority() -> None:
    assert plan_replace(picture(), "db-3").donors == ("db-1", "db-2")
    assert plan_replace(picture(silent("db-3")), "db-3").donors == ("db-1", "db-2")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (picture(routers=(router("app-1", writer="db-3"),)), "db-3 is the writer"),
        (picture(routers=(router("app-1"), router("app-2", writer="db-3"))), "db-3 is the writer"),
        (picture(routers=(router("app-1"), Router("app-2"))), "not every router answers"),
        (picture(routers=()), "not every router answers"),
        (picture(silent("db-2")), "only 1 of 3 members would serve, 2 are needed"),
        (picture(member("db-2", ready=False)), "only 1 of 3"),
        (
            picture(member("db-3", state="ERROR", only="c:1-3")),
            "3 transaction(s) that no other member has: c:1-3",
        ),
    ],
)
def test_a_replacement_is_refused_with_the_reason(seen: Picture, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        plan_replace(seen, "db-3")
    assert words in refused.value.message


def test_transactions_of_its_own_are_given_up_only_when_told_and_those_on_their_way_do_not_count() -> None:
    apart = picture(member("db-3", state="OFFLINE", view={}, only="c:1-3"))
    assert plan_replace(apart, "db-3", lose_its_own=True).own == "c:1-3"
    assert plan_replace(picture(member("db-3", only="a:10")), "db-3").own == ""


def test_room_for_a_copy() -> None:
    assert room_is_enough(free=140, donor_bytes=100, own_bytes=0, keep=True)
    assert not room_is_enough(free=120, donor_bytes=100, own_bytes=100, keep=True)
    assert room_is_enough(free=120, donor_bytes=100, own_bytes=100, keep=False)


def test_members_are_upgraded_one_by_one_the_writer_last() -> None:
    assert upgrade_order(picture()) == ("db-2", "db-3", "db-1")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (picture(silent("db-2")), "db-2 is UNREACHABLE"),
        (picture(member("db-2", state="RECOVERING")), "db-2 is RECOVERING"),
        (picture(routers=(router("app-1", writer=None),)), "do not agree"),
        (Picture((member("db-1", view={"db-1": "ONLINE"}),), (router("app-1"),)), "fewer than three"),
    ],
)
def test_an_upgrade_is_refused_with_the_reason(seen: Picture, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        upgrade_order(seen)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"state": "RECOVERING"}, "RECOVERING"),
        ({"apply_queue": 3}, "3 transactions"),
        ({"ready": False, "reasons": ("late",)}, "late"),
        ({"ready": False, "single_primary": True}, ""),
    ],
)
def test_when_a_member_counts_as_back(changed: dict[str, Any], words: str) -> None:
    found = member("db-3", **changed)
    why = is_back(found, picture(found))
    assert words in why
    assert bool(words) == bool(why)


def test_a_member_that_another_does_not_see_is_not_back() -> None:
    assert is_back(member("db-3"), picture(member("db-2", view=WHOLE | {"db-3": "RECOVERING"})))


def test_versions_of_one_series_only() -> None:
    same, newer = Versions("9.7.4-2", "9.7.4-2"), Versions("9.7.4-2", "9.7.5-1")
    assert not check_versions({"db-1": same})
    assert check_versions({"db-1": same, "db-2": newer})
    with pytest.raises(RefusedError, match=r"from 9\.7 to 9\.8"):
        check_versions({"db-1": Versions("9.7.4-2", "9.8.0-1")})
    assert (series("1:8.4.6+dfsg-1"), series("(none)")) == ("8.4", "")


def test_versions_are_read_from_the_package_tool() -> None:
    said = (
        "mysql-server-core:\n  Installed: 9.7.4-2\n  Candidate: 9.7.5-1\n  Version table:\n *** 9.7.4-2 100\n"
    )
    assert versions_of(said) == {"installed": "9.7.4-2", "candidate": "9.7.5-1"}
    assert versions_of("") == {"installed": "", "candidate": ""}


def test_how_far_a_copy_is() -> None:
    assert copied([]) == ""
    running = [
        {"stage": "FILE COPY", "state": "In Progress", "estimate": 200 << 20, "data": 50 << 20},
        {"stage": "RESTART", "state": "Not Started", "estimate": 0, "data": 0},
    ]
    assert copied(running) == "copied 50 MiB of 200 MiB (25 %); "
    assert copied([{**running[0], "state": "Completed"}]) == ""


def test_answers_of_the_hosts_programs_become_the_picture() -> None:
    health = {"ready": True, "reasons": []}
    said = {
        "answers": True,
        "uuid": "u",
        "version": "9.7.4",
        "state": "OFFLINE",
        "view": {"db-1": "OFFLINE"},
        "executed": "a:1-3",
        "received": "",
        "apply_queue": "0",
        "certify_queue": 0,
        "conflicts": 2,
        "read_only": 1,
        "offline": 0,
        "single_primary": 0,
        "health": health,
        "busy": [{"id": 1, "user": "u", "host": "h", "seconds": 0.5}],
    }
    found = member_of("db-1", said, "b:1", "a:3")
    assert (found.view, found.read_only, found.conflicts, found.busy) == (
        {},
        True,
        2,
        (Busy(1, "u", "h", 0.5),),
    )
    assert not found.serves
    gone = member_of("db-1", {"answers": False, "problem": "refused", "health": health})
    assert (gone.answers, gone.state, gone.problem) == (False, "UNREACHABLE", "refused")
    seen = router_of(
        "app-1",
        {
            "writer": "db-1",
            "members": [{"name": "db-1", "status": "UP", "sessions": 2}],
            "apart": ["app-2"],
            "left": {"to": "db-2", "put": ["db-3"]},
            "gate_closed_s": 0.0,
        },
    )
    assert (seen.left, seen.sessions, seen.status) == (("db-3",), {"db-1": 2}, {"db-1": "UP"})
    assert seen.apart == ("app-2",)
