"""Recovery time is measured at the clients, from the fault to the first write by the new way."""

from __future__ import annotations

import pytest

from runbooks.drills.evidence.history import Operation
from runbooks.drills.evidence.timing import felt, quantile, two_writers, was_busy


def write(client: int, began: float, ended: float, outcome: str = "ok", member: str = "db-1") -> Operation:
    return Operation(
        client=client,
        number=int(began * 1000),
        kind="append",
        target="list",
        value=int(began * 1000) * 10 + client,
        intended=began,
        began=began,
        ended=ended,
        outcome=outcome,  # type: ignore[arg-type]
        member=member,
    )


SWITCH = [
    write(1, 9.90, 9.91),
    write(2, 9.95, 9.96),
    write(1, 10.01, 10.02),  # the fault has not bitten yet
    write(2, 10.05, 10.30, "unknown"),
    write(1, 10.12, 10.31, "fail"),
    write(2, 10.40, 10.42, member="db-2"),
    write(1, 10.50, 10.51, member="db-2"),
]


def test_an_answer_of_the_broken_member_is_no_recovery() -> None:
    seen = felt(SWITCH, 10.0, broken={"db-1"})
    assert seen.rto == pytest.approx(0.42)
    assert seen.gaps == {2: pytest.approx(0.46), 1: pytest.approx(0.60)}
    assert seen.last_before == 9.96
    assert (seen.late, seen.refused) == (0, 2)


def test_where_the_way_stays_the_same_recovery_begins_after_the_last_trouble() -> None:
    assert felt(SWITCH, 10.0).rto == pytest.approx(0.42)


def test_whoever_never_answered_does_not_make_the_way_another_one() -> None:
    """A host that is broken but is no member: an answer before it bites is no recovery."""
    assert felt(SWITCH, 10.0, broken={"app-1"}).rto == pytest.approx(0.42)


def test_a_write_begun_before_the_fault_proves_nothing() -> None:
    assert felt([write(1, 9.99, 10.5, member="db-2")], 10.0, broken={"db-1"}).rto is None


def test_a_stall_is_late_from_when_the_schedule_wanted_it() -> None:
    stalled = write(1, 12.0, 12.01).model_copy(update={"intended": 10.5})
    seen = felt([*SWITCH, stalled], 10.0, broken={"db-1"})
    assert seen.late == 1


def test_failed_requests_are_reads_too_and_tries_before_one_that_was_served() -> None:
    assert felt(SWITCH, 10.0).failed == 2
    read = write(3, 10.2, 10.3, "fail").model_copy(update={"kind": "get"})
    again = write(3, 10.6, 10.9).model_copy(update={"tries": 3})
    earlier = write(3, 9.0, 9.1, "fail")
    seen = felt([*SWITCH, earlier, read, again], 10.0)
    assert (seen.failed, seen.refused) == (5, 2)


def test_what_a_fault_adds_to_the_p99_counts_from_when_the_schedule_wanted_it() -> None:
    late = write(1, 12.0, 12.01).model_copy(update={"intended": 11.0})
    assert felt([*SWITCH, late], 10.0).added_p99 == pytest.approx(1.0)
    assert felt(SWITCH[:2], 10.0).added_p99 is None


def test_nothing_that_recovers_has_no_time() -> None:
    assert felt(SWITCH[:5], 10.0, broken={"db-1"}).rto is None


def test_a_fault_that_met_no_load_is_seen() -> None:
    assert was_busy(SWITCH, 10.0)
    assert not was_busy(SWITCH, 12.0)


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert quantile([5.0], 0.99) == 5.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_one_change_of_the_writer_is_no_pair_of_writers() -> None:
    assert two_writers(SWITCH) == 0
    back = [*SWITCH, write(1, 20.0, 20.01)]
    assert two_writers(back) == 0, "it moved back much later"


def test_writers_by_turns_are_two_writers_for_as_long_as_it_lasts() -> None:
    turns = [write(1, 10.6, 10.7), write(2, 10.8, 10.9, member="db-2"), write(1, 11.0, 11.1)]
    assert two_writers([*SWITCH, *turns]) == pytest.approx(0.6)


def test_trouble_after_the_undo_is_the_way_back_and_not_the_fault() -> None:
    good = [write(n, n / 2, n / 2 + 0.01, member="app-2") for n in range(80)]
    slow = write(90, 30.0, 32.5, member="app-2")
    seen = felt([*good, slow], 10.0, undo=20.0)
    assert seen.rto == pytest.approx(0.01)
    assert (seen.added_p99, seen.added_p99_return) == (pytest.approx(0.0), pytest.approx(2.49))
    assert felt([*good, slow], 10.0).rto == pytest.approx(2.5), "one stall, not all the time until its end"


def test_what_only_the_undo_ended_counts_to_the_end_of_its_trouble() -> None:
    before = [write(n, n / 2, n / 2 + 0.01, member="db-1") for n in range(20)]
    failing = [write(50 + n, 10.2 + n, 10.3 + n, member="", outcome="fail") for n in range(12)]
    seen = felt([*before, *failing, write(80, 22.0, 22.1, member="db-1")], 10.0, undo=18.0)
    assert seen.rto == pytest.approx(12.1)


def test_clients_that_go_different_ways_are_all_waited_for() -> None:
    one = [write(1, n / 10, n / 10 + 0.01) for n in range(80, 130)]
    cut = [write(2, n / 10, n / 10 + 0.01) for n in (*range(80, 100), *range(104, 130))]
    assert felt([*one, *cut], 10.0, each=True).rto == pytest.approx(0.41)
    assert felt([*one, *cut], 10.0).rto == pytest.approx(0.01)
    assert felt([*one, *cut[:20]], 10.0, each=True).rto is None


def test_a_stall_from_the_fault_on_is_as_long_as_it_lasts_and_pieces_of_one_are_one() -> None:
    before = [write(n, 9.0 + n / 10, 9.01 + n / 10) for n in range(10)]
    stalled = [write(20 + n, 10.2 + n / 2, 14.0 + n / 10) for n in range(6)]
    assert felt([*before, *stalled, write(1, 15.0, 15.1)], 10.0).rto == pytest.approx(4.5)
    apart = [write(40, 20.0, 21.5), write(41, 30.0, 31.2)]
    assert felt([*before, *stalled, *apart], 10.0).rto == pytest.approx(4.5)


def test_what_fails_now_and_then_is_not_over_before_it_ends() -> None:
    good = [write(n, n / 2, n / 2 + 0.01) for n in range(60)]
    failing = [write(90 + n, 11.0 + 3 * n, 11.1 + 3 * n, "fail") for n in range(3)]
    assert felt([*good, *failing], 10.0, undo=20.0).rto == pytest.approx(7.01)


def test_what_hung_in_the_old_path_is_served_when_the_new_one_acknowledges_it() -> None:
    """The line: every client hangs in the cut path, is asked again, and works off what was due meanwhile."""
    before = [write(c, 9.0 + n / 10 + c / 40, 9.02 + n / 10 + c / 40) for n in range(10) for c in range(4)]
    early = write(9, 10.001, 10.015)  # the cut has not bitten yet
    hung = [write(c, 10.02 + c / 10, 11.5 + c / 100).model_copy(update={"tries": 2}) for c in range(4)]
    due = [write(c, 11.55 + c / 100, 11.57).model_copy(update={"intended": 10.4}) for c in range(4)]
    after = [write(c, 11.9 + c / 40, 11.92 + c / 40) for c in range(4)]
    seen = felt([*before, early, *hung, *due, *after], 10.0, undo=20.0)
    assert seen.rto == pytest.approx(1.57)
    assert seen.failed == 4


def test_what_waits_at_the_hospital_is_served_when_the_front_end_machine_is_back() -> None:
    before = [write(n, n / 2, n / 2 + 0.01, member="") for n in range(20)]
    waited = write(50, 10.2, 34.0, member="").model_copy(update={"tries": 15})
    seen = felt([*before, waited, write(51, 34.1, 34.2, member="")], 10.0, undo=20.0)
    assert seen.rto == pytest.approx(24.0)


def test_where_nobody_wrote_nobody_was_served() -> None:
    assert felt([], 10.0, each=True).rto is None
