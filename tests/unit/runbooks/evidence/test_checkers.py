"""The checkers bark at planted faults, and at nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from runbooks.drills.evidence.checkers import Findings, check
from runbooks.drills.evidence.history import Held, Operation

TOTAL = 1000


def op(client: int, number: int, kind: str, value: int | None, **more: Any) -> Operation:
    target = {"append": "list-1", "set": "register-1", "get": "register-1"}.get(kind, "bank")
    at = more.pop("at", float(number))
    given = {"target": target, "intended": at, "began": at, "ended": at + 0.01, "outcome": "ok"} | more
    return Operation(client=client, number=number, kind=kind, value=value, **given)  # type: ignore[arg-type]


def held(member: str = "db-1", **more: Any) -> Held:
    given = {"lists": {"list-1": [11, 12, 21]}, "registers": {"register-1": 2}, "total": TOTAL} | more
    return Held(member=member, gtid_set=given.pop("gtid_set", "a:1-9"), **given)


GOOD = [
    op(1, 1, "append", 11),
    op(2, 1, "append", 21, at=1.5),
    op(1, 2, "append", 12),
    op(1, 3, "set", 1),
    op(2, 3, "get", 1, at=3.5),
    op(1, 4, "set", 2),
    op(2, 5, "get", 2),
    op(3, 6, "transfer", 7),
    op(3, 7, "snapshot", TOTAL),
]


def judged(history: list[Operation], *members: Held) -> Findings:
    return check(history, members or (held(), held("db-2")), TOTAL)


def faults(found: Findings) -> list[str]:
    return sorted({v.fault for v in found.violations})


def test_a_good_history_has_no_violation() -> None:
    found = judged(GOOD)
    assert found.violations == ()
    assert (found.acknowledged, found.failed, found.unknown) == (6, 0, 0)


def test_a_member_that_acknowledged_and_forgot_is_caught() -> None:
    found = judged(GOOD, held(lists={"list-1": [11, 21]}), held("db-2", lists={"list-1": [11, 21]}))
    assert faults(found) == ["lost"]
    assert found.count("lost") == 2, "named on each member"


def test_an_older_version_than_the_acknowledged_one_is_a_lost_write() -> None:
    assert faults(judged(GOOD, held(registers={"register-1": 1}))) == ["lost"]


def test_a_lagging_member_that_is_read_is_caught() -> None:
    found = judged([*GOOD, op(2, 8, "get", 1, member="db-3")])
    assert faults(found) == ["stale"]
    assert "db-3 answered version 1" in found.violations[0].text


def test_a_read_that_began_before_the_acknowledgement_may_see_the_old_version() -> None:
    assert judged([*GOOD, op(2, 9, "get", 1, at=4.0, began=4.005)]).violations == ()


def test_a_list_that_is_read_without_its_newest_acknowledged_element_is_stale() -> None:
    seen = [op(1, 1, "append", 11), op(1, 2, "append", 12), op(2, 3, "get", 12, target="list-1")]
    everything = held(lists={"list-1": [11, 12]}, registers={})
    assert check(seen, [everything], TOTAL).violations == ()
    behind = [*seen, op(2, 4, "get", 11, target="list-1", member="app-2")]
    found = check(behind, [everything], TOTAL)
    assert faults(found) == ["stale"]
    assert "app-2 answered version 11 of list-1, not 12" in found.violations[0].text


def test_a_workload_that_reports_success_falsely_is_caught() -> None:
    assert faults(judged([*GOOD, op(4, 9, "append", 41)])) == ["lost"]


@pytest.mark.parametrize("stored", [True, False])
def test_an_unknown_write_may_be_there_or_not(stored: bool) -> None:
    history = [*GOOD, op(4, 9, "append", 41, outcome="unknown", error="2013")]
    found = judged(history, held(lists={"list-1": [11, 12, 21, *([41] if stored else [])]}))
    assert found.violations == ()
    assert (found.unknown, found.unknown_stored) == (1, int(stored))


def test_an_unknown_version_may_be_there_and_a_refused_one_may_not() -> None:
    unknown = [*GOOD, op(1, 9, "set", 3, outcome="unknown")]
    assert judged(unknown, held(registers={"register-1": 3})).violations == ()
    refused = [*GOOD, op(1, 9, "set", 3, outcome="fail", error="1213")]
    assert faults(judged(refused, held(registers={"register-1": 3}))) == ["phantom"]


def test_what_got_a_definite_error_and_is_there_is_caught() -> None:
    history = [*GOOD, op(4, 9, "append", 41, outcome="fail", error="1213")]
    assert faults(judged(history, held(lists={"list-1": [11, 12, 21, 41]}))) == ["phantom"]


def test_what_nobody_wrote_what_is_there_twice_and_what_changed_places_is_caught() -> None:
    assert faults(judged(GOOD, held(lists={"list-1": [11, 12, 21, 99]}))) == ["phantom"]
    assert faults(judged(GOOD, held(lists={"list-1": [11, 12, 12, 21]}))) == ["doubled"]
    assert faults(judged(GOOD, held(lists={"list-1": [12, 11, 21]}))) == ["disordered"]


def test_a_torn_transfer_is_caught_in_a_snapshot_and_at_the_end() -> None:
    assert faults(judged([*GOOD, op(3, 8, "snapshot", TOTAL - 7)])) == ["torn"]
    assert faults(judged(GOOD, held(total=TOTAL - 7), held("db-2", total=TOTAL - 7))) == ["torn"]


def test_members_that_differ_and_a_drill_nobody_read_back_are_caught() -> None:
    assert faults(judged(GOOD, held(), held("db-2", gtid_set="a:1-8"))) == ["diverged"]
    assert faults(judged(GOOD, held(), held("db-2", registers={"register-1": 4}))) == ["diverged", "phantom"]
    assert "diverged" in faults(check(GOOD, (), TOTAL))
