"""The MySQL group's plan: who is bootstrapped, who joins, and when nothing may be done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "playbooks/roles/mysql/files/group_plan.py"
NAMES = ("db-1", "db-2", "db-3")


@pytest.fixture(scope="module")
def planner() -> ModuleType:
    return load_program(SOURCE)


def contains(whole: str, part: str) -> bool:
    """A GTID set is here a string of letters, one a transaction."""
    return set(part) <= set(whole)


def plan(planner: ModuleType, members: dict[str, Any], without: tuple[str, ...] = ()) -> tuple[str, Any, str]:
    """Each member: None (silent), a string (OFFLINE, these transactions), or (state, view)."""
    seen = []
    for name, answer in members.items():
        if answer is None:
            seen.append(planner.Seen(name, answered=False, problem="timed out"))
        elif isinstance(answer, str):
            seen.append(planner.Seen(name, gtids=answer))
        else:
            state, view = answer
            seen.append(planner.Seen(name, state=state, view=tuple(view.items()), gtids="abc"))
    found = planner.make_plan(seen, contains, without)
    return found.action, found.members, found.reason


def view(*online: str, **others: str) -> dict[str, str]:
    return dict.fromkeys(online, "ONLINE") | {k.replace("_", "-"): v for k, v in others.items()}


def stopped(*sets: str | None) -> dict[str, str | None]:
    return dict(zip(NAMES, sets, strict=True))


def test_fresh_members_are_bootstrapped_on_the_first(planner: ModuleType) -> None:
    assert plan(planner, stopped("", "", ""))[:2] == ("bootstrap", ("db-1",))


def test_after_a_total_stop_the_member_that_holds_everything_is_bootstrapped(planner: ModuleType) -> None:
    assert plan(planner, stopped("ab", "abc", "a"))[:2] == ("bootstrap", ("db-2",))


def test_equal_members_are_bootstrapped_on_the_first(planner: ModuleType) -> None:
    assert plan(planner, stopped("ab", "ab", "ab"))[:2] == ("bootstrap", ("db-1",))


def test_diverged_members_are_refused_by_name(planner: ModuleType) -> None:
    action, members, reason = plan(planner, stopped("ab", "ac", "a"))
    assert (action, members) == ("refuse", ())
    assert "db-1 holds ab" in reason
    assert "db-2 holds ac" in reason


def test_a_majority_suffices_for_the_very_first_bootstrap(planner: ModuleType) -> None:
    assert plan(planner, stopped(None, "", ""))[:2] == ("bootstrap", ("db-2",))


def test_one_fresh_member_of_three_is_no_majority(planner: ModuleType) -> None:
    action, _, reason = plan(planner, stopped("", None, None))
    assert action == "refuse"
    assert "db-2 does not answer (timed out)" in reason


def test_a_silent_member_stops_a_bootstrap_once_there_is_data(planner: ModuleType) -> None:
    action, _, reason = plan(planner, stopped("abc", "abc", None))
    assert action == "refuse"
    assert "db-3" in reason


def test_two_fresh_and_one_silent_with_data_in_one_is_refused(planner: ModuleType) -> None:
    assert plan(planner, stopped("a", "", None))[0] == "refuse"


def test_an_operator_may_give_a_silent_member_up(planner: ModuleType) -> None:
    assert plan(planner, stopped("ab", "abc", None), ("db-3",))[:2] == ("bootstrap", ("db-2",))


def test_giving_one_up_does_not_give_up_another(planner: ModuleType) -> None:
    assert plan(planner, stopped("abc", None, None), ("db-3",))[0] == "refuse"


def test_nobody_there_is_refused(planner: ModuleType) -> None:
    assert plan(planner, stopped(None, None, None), NAMES)[0] == "refuse"


def test_members_that_are_out_join_a_group_that_serves(planner: ModuleType) -> None:
    both = ("ONLINE", view("db-1", "db-2"))
    assert plan(planner, {"db-1": both, "db-2": both, "db-3": "a"})[:2] == ("join", ("db-3",))


def test_a_member_whose_former_self_is_still_listed_waits_until_it_is_expelled(planner: ModuleType) -> None:
    both = ("ONLINE", view("db-1", "db-2", db_3="UNREACHABLE"))
    action, _, reason = plan(planner, {"db-1": both, "db-2": both, "db-3": "a"})
    assert action == "wait"
    assert "db-3" in reason


def test_a_failed_member_joins_again(planner: ModuleType) -> None:
    both = ("ONLINE", view("db-1", "db-2"))
    failed = ("ERROR", {"db-3": "ERROR"})
    assert plan(planner, {"db-1": both, "db-2": both, "db-3": failed})[:2] == ("join", ("db-3",))


def test_a_group_that_serves_is_never_bootstrapped_again(planner: ModuleType) -> None:
    alone = ("ONLINE", view("db-1"))
    assert plan(planner, {"db-1": alone, "db-2": "abcdef", "db-3": "abcdef"})[0] == "join"


def test_a_silent_member_does_not_disturb_a_group_that_serves(planner: ModuleType) -> None:
    both = ("ONLINE", view("db-1", "db-2"))
    action, _, reason = plan(planner, {"db-1": both, "db-2": both, "db-3": None})
    assert action == "none"
    assert "db-3" in reason


def test_nothing_is_left_to_do_when_all_serve(planner: ModuleType) -> None:
    every = ("ONLINE", view(*NAMES))
    assert plan(planner, dict.fromkeys(NAMES, every))[:2] == ("none", ())


def test_a_member_that_catches_up_is_waited_for(planner: ModuleType) -> None:
    seen = view("db-1", "db-2", db_3="RECOVERING")
    members = {"db-1": ("ONLINE", seen), "db-2": ("ONLINE", seen), "db-3": ("RECOVERING", seen)}
    assert plan(planner, members)[0] == "wait"


def test_a_bootstrap_under_way_is_waited_for_not_repeated(planner: ModuleType) -> None:
    members = {"db-1": ("RECOVERING", {"db-1": "RECOVERING"}), "db-2": "", "db-3": ""}
    assert plan(planner, members)[0] == "wait"


def test_a_thawed_member_that_still_believes_in_the_old_group_is_waited_out(planner: ModuleType) -> None:
    rest = ("ONLINE", view("db-2", "db-3"))
    assert plan(planner, {"db-1": ("ONLINE", view(*NAMES)), "db-2": rest, "db-3": rest})[0] == "wait"


def test_two_groups_are_refused_by_name(planner: ModuleType) -> None:
    members = {"db-1": ("ONLINE", view("db-1")), "db-2": ("ONLINE", view("db-2", "db-3")), "db-3": "a"}
    action, _, reason = plan(planner, members)
    assert action == "refuse"
    assert "db-1" in reason
    assert "db-2" in reason


def test_without_quorum_and_with_a_silent_member_nothing_is_done(planner: ModuleType) -> None:
    blocked = ("ONLINE", view("db-1", db_2="UNREACHABLE", db_3="UNREACHABLE"))
    action, _, reason = plan(planner, {"db-1": blocked, "db-2": "abc", "db-3": None})
    assert action == "refuse"
    assert "quorum is lost" in reason


def test_without_quorum_but_with_everybody_here_who_is_left_goes_on_as_the_group(planner: ModuleType) -> None:
    blocked = ("ONLINE", view("db-1", db_2="UNREACHABLE", db_3="UNREACHABLE"))
    assert plan(planner, {"db-1": blocked, "db-2": "ab", "db-3": "abc"})[:2] == ("force", ("db-1",))


def test_without_quorum_a_member_that_lacks_a_transaction_is_stopped_instead(planner: ModuleType) -> None:
    blocked = ("ONLINE", view("db-1", db_2="UNREACHABLE", db_3="UNREACHABLE"))
    assert plan(planner, {"db-1": blocked, "db-2": "abcd", "db-3": "abc"})[:2] == ("stop", ("db-1",))


def test_one_unreachable_of_three_is_still_a_quorum(planner: ModuleType) -> None:
    seen = view("db-1", "db-2", db_3="UNREACHABLE")
    members = {"db-1": ("ONLINE", seen), "db-2": ("ONLINE", seen), "db-3": None}
    assert plan(planner, members)[0] == "none"
