"""Which drills are overdue: never rehearsed, not passed since, or too long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runbooks.drills.catalogue import shipped
from runbooks.drills.ran import Ran
from runbooks.drills.schedule import Calendar, Due, calendar, schedule

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
INTERVALS = Calendar.model_validate(
    {
        "otherwise": {"every_days": 365, "source": "ours: yearly"},
        "drills": {"kill": {"every_days": 92, "source": "ours: quarterly"}},
    }
)


def run(drill: str, days_ago: float, verdict: str = "passed") -> Ran:
    return Ran.model_validate({"drill": drill, "at": NOW - timedelta(days=days_ago), "verdict": verdict})


def due(drill: str, *runs: Ran) -> Due:
    (found,) = schedule([drill], runs, INTERVALS, NOW)
    return found


def test_a_drill_that_never_ran_is_overdue() -> None:
    found = due("kill")
    assert (found.overdue, found.overdue_days, found.next_due, found.last_verdict) == (True, None, None, "")


def test_only_a_run_that_passed_counts() -> None:
    found = due("kill", run("kill", 200), run("kill", 3, "failed"), run("kill", 2, "void"))
    assert found.last_passed == NOW - timedelta(days=200)
    assert (found.last_verdict, found.overdue, found.overdue_days) == ("void", True, 200 - 92)
    assert due("kill", run("kill", 3, "failed")).overdue_days is None


def test_a_drill_is_due_after_its_own_interval_or_the_calendars() -> None:
    assert not due("kill", run("kill", 91)).overdue
    assert due("kill", run("kill", 92.1)).overdue
    assert not due("other", run("other", 364)).overdue
    assert due("other", run("other", 366)).overdue_days == 1
    assert not due("other", run("kill", 400), run("other", 1)).overdue, "another drill's run is another's"


def test_a_run_in_the_future_is_not_believed() -> None:
    assert due("kill", run("kill", -1)).overdue
    assert due("kill", run("kill", -1), run("kill", 10)).last_passed == NOW - timedelta(days=10)


def test_what_never_passed_comes_first_then_the_longest_overdue() -> None:
    runs = [run("a", 400), run("b", 500), run("c", 1)]
    assert [d.drill for d in schedule(["a", "b", "c", "d"], runs, INTERVALS, NOW)] == ["d", "b", "a", "c"]


def test_the_shipped_calendar_names_shipped_drills_and_says_whose_the_number_is() -> None:
    assert set(calendar().drills) <= set(shipped())
    for interval in (calendar().otherwise, *calendar().drills.values()):
        assert interval.source.startswith("yiyun default: ")
        assert "8.1.10.13 says 定期 and names no interval" in interval.source
