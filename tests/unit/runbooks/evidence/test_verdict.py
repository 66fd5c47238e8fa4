"""The verdict follows from the records: each thing that spoils a drill is planted, and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.evidence.observers import Sighting
from runbooks.drills.evidence.verdict import Evidence, Verdict, judge
from runbooks.drills.journal import Event
from runbooks.drills.model import Drill

KILLED = {"kind": "process-killed", "host": "db-1", "unit": "mysql"}
DRILL = Drill.model_validate(
    {
        "name": "mysql-writer-kill",
        "title": {"zh": "数据库写节点进程被杀", "en": "The writer's server is killed"},
        "procedure": "mysql-member-out",
        "hypothesis": ["healthy"],
        "workload": {"kind": "database", "rate": 100, "clients": 4},
        "method": [{"faults": [KILLED]}],
        "objectives": {"rto_s": 1.5},
    }
)
EPOCH = 1_795_000_000
"""Unix seconds where the monotonic clock began."""


def event(mono: float, name: str, **fields: Any) -> Event:
    at = datetime.fromtimestamp(EPOCH + mono, UTC).isoformat(timespec="milliseconds")
    return Event(name, at, mono, fields)


def looked(mono: float, when: str, *, holds: bool = True) -> Event:
    return event(
        mono, "observed", when=when, probes=[{"probe": "healthy", "holds": holds, "text": "as seen"}]
    )


ORDER = {"start": "mysql"}
EVENTS = (
    looked(8.0, "before"),
    event(9.9, "will-undo", order=ORDER),
    event(10.0, "fault", fault=KILLED),
    event(10.1, "effect", fault=KILLED, bites=True),
    event(18.0, "undoing", order=ORDER),
    event(18.5, "undone", order=ORDER, reason=""),
    looked(19.0, "after", holds=False),
    looked(22.0, "after"),
    event(22.1, "ended"),
    event(22.2, "collected", operations=3),
)


def append(number: int, began: float, member: str = "db-1") -> Operation:
    times = {"intended": began, "began": began, "ended": began + 0.01}
    return Operation(
        client=1,
        number=number,
        kind="append",
        target="list",
        value=number,
        outcome="ok",
        member=member,
        **times,
    )


HISTORY = (append(1, 9.5), append(2, 9.9), append(3, 10.6, "db-2"))
HELD = (Held(member="db-2", gtid_set="a:1-3", lists={"list": [1, 2, 3]}, registers={}, total=100),)
GOOD = Evidence(DRILL, EVENTS, HISTORY, HELD, 100, broken={"db-1"})


def without(name: str) -> tuple[Event, ...]:
    return tuple(e for e in EVENTS if e.name != name)


def said(verdict: Verdict) -> tuple[str, str]:
    return verdict.word, "; ".join(map(str, verdict.reasons))


def test_a_good_drill_passes_with_its_figures() -> None:
    verdict = judge(GOOD)
    assert said(verdict) == ("passed", "")
    assert verdict.felt is not None
    assert verdict.felt.rto is not None
    assert round(verdict.felt.rto, 2) == 0.61
    assert verdict.full_strength == 12.0
    assert verdict.findings.acknowledged == 3


def test_what_proves_nothing_is_void() -> None:
    assert said(judge(replace(GOOD, events=without("fault")))) == ("void", "no fault was begun")
    held = (HELD[0].model_copy(update={"lists": {"list": [1, 3]}}),)
    quiet = replace(GOOD, history=(append(1, 8.0), append(3, 10.6, "db-2")), held=held)
    assert judge(quiet).word == "void"
    blunt = [replace(e, fields={**e.fields, "bites": False}) if e.name == "effect" else e for e in EVENTS]
    assert said(judge(replace(GOOD, events=blunt))) == ("void", "process-killed had no effect")


def test_a_drill_that_was_given_up_or_whose_controller_died_is_aborted() -> None:
    given_up = (*EVENTS[:4], event(12.0, "aborted", reason="db-3 left"), *EVENTS[4:])
    assert said(judge(replace(GOOD, events=given_up))) == ("aborted", "db-3 left")
    assert judge(replace(GOOD, events=without("ended"))).word == "aborted"
    assert judge(replace(GOOD, events=without("collected"))).word == "aborted"
    lost = (HELD[0].model_copy(update={"lists": {"list": [1, 3]}}),)
    assert judge(replace(GOOD, events=given_up, held=lost)).word == "failed", "lost is lost"


def test_a_clock_that_was_set_meanwhile_is_aborted() -> None:
    later = datetime.fromtimestamp(EPOCH + 18.0 + 3600, UTC).isoformat()
    jumped = [replace(e, at=later) if e.name == "undoing" else e for e in EVENTS]
    word, why = said(judge(replace(GOOD, events=jumped)))
    assert (word, why) == (
        "aborted",
        "the controller's clock jumped by 3600.0 s: who saw what when cannot be said",
    )


def down(subject: str, mono: float, host: str = "app-1") -> Sighting:
    text = f"{subject} is DOWN"
    return Sighting(layer="router", host=host, at=EPOCH + mono, subject=subject, gone=True, text=text)


def test_what_was_lost_beside_the_fault_is_aborted() -> None:
    assert judge(replace(GOOD, seen=[down("db-1", 10.2)])).word == "passed", "that one was broken"
    assert judge(replace(GOOD, seen=[down("db-3", 9.0)])).word == "passed", "before the fault"
    assert judge(replace(GOOD, seen=[down("db-3", 11.0, "db-1")])).word == "passed", "the broken one says so"
    word, why = said(judge(replace(GOOD, seen=[down("db-1", 10.2), down("db-3", 11.0), down("db-3", 11.1)])))
    assert word == "aborted"
    assert why == "db-3 was lost too, which this drill did not break (app-1: db-3 is DOWN)"


@pytest.mark.parametrize(
    ("fault", "meant"),
    [
        ({"kind": "link-cut", "source": "app-1", "destination": "db-3", "ports": [3306]}, True),
        ({"kind": "link-cut", "source": "app-1", "destination": "db-2", "ports": [3306]}, False),
        ({"kind": "quorum-cut"}, True),
        ({"kind": "line-cut", "gateway": "ops-1"}, False),
    ],
)
def test_what_the_fault_names_is_lost_on_purpose(fault: dict[str, object], meant: bool) -> None:
    method = [{"faults": [fault]}]
    drill = Drill.model_validate(DRILL.model_dump() | {"method": method})
    seen = [down("db-3", 11.0)]
    found = judge(replace(GOOD, drill=drill, seen=seen, broken=()))
    assert (found.word == "aborted") is not meant, found.reasons


def test_evidence_that_was_cut_short_is_failed() -> None:
    word, why = said(judge(replace(GOOD, history=[HISTORY[1], HISTORY[2]])))
    assert (word, why.split(";")[0]) == ("failed", "the workload made 3 operations, 2 are in its history")


def test_too_slow_never_or_by_the_broken_member_is_failed() -> None:
    slow = replace(GOOD, history=(*HISTORY[:2], append(3, 11.9, "db-2")))
    assert said(judge(slow)) == ("failed", "recovered after 1.91 s, the objective is 1.50 s")
    never = replace(GOOD, history=(*HISTORY[:2], append(3, 10.6)))
    assert said(judge(never)) == ("failed", "no client was served again")


def test_failed_requests_and_what_was_added_to_the_wait_have_objectives_of_their_own() -> None:
    promised = DRILL.objectives.model_copy(update={"failed": 0, "added_p99_s": 1.0})
    drill = DRILL.model_copy(update={"objectives": promised})
    assert judge(replace(GOOD, drill=drill)).word == "passed"
    four = (*EVENTS[:-1], event(22.2, "collected", operations=4))
    repeated = (*HISTORY, append(4, 11.0, "db-2").model_copy(update={"tries": 2}))
    held = (HELD[0].model_copy(update={"lists": {"list": [1, 2, 3, 4]}}),)
    found = judge(replace(GOOD, drill=drill, history=repeated, held=held, events=four))
    assert said(found) == ("failed", "1 requests failed, the objective is 0")
    assert judge(replace(GOOD, history=repeated, held=held, events=four)).word == "passed", "no promise"
    waited = (*HISTORY, append(4, 12.0, "db-2").model_copy(update={"intended": 10.5}))
    found = judge(replace(GOOD, drill=drill, history=waited, held=held))
    assert "1.50 s were added to the p99" in said(found)[1]


@pytest.mark.parametrize("kind", ["platform", "line", "hospital"])
def test_from_outside_recovery_begins_after_the_last_trouble_whoever_answers(kind: str) -> None:
    """The other host's answers, which were there all the time, are no recovery of what was broken."""
    outside = DRILL.model_copy(update={"workload": DRILL.workload.model_copy(update={"kind": kind})})
    refused = append(3, 11.0).model_copy(update={"outcome": "unknown"})
    history = (*HISTORY[:2], append(4, 10.05, "app-2"), refused, append(5, 11.5, "app-1"))
    held = (HELD[0].model_copy(update={"lists": {"list": [1, 2, 4, 5]}}),)
    seen = judge(replace(GOOD, drill=outside, history=history, held=held, broken={"app-1"})).felt
    assert seen is not None
    assert seen.rto is not None
    assert round(seen.rto, 2) == 1.51


def test_a_lost_write_an_undo_that_failed_and_an_estate_that_is_not_whole_are_failed() -> None:
    lost = (Held(member="db-2", gtid_set="a:1-3", lists={"list": [1, 3]}, registers={}, total=100),)
    assert "lost: 2 of client 1" in said(judge(replace(GOOD, held=lost)))[1]
    stuck = [
        replace(e, name="not-undone", fields={"order": ORDER, "reason": "no answer"})
        if e.name == "undone"
        else e
        for e in EVENTS
    ]
    assert said(judge(replace(GOOD, events=stuck))) == ("failed", "not undone: no answer")
    mended_later = [*stuck[:6], event(18.9, "undone", order=ORDER, reason=""), *stuck[6:]]
    assert judge(replace(GOOD, events=mended_later)).word == "passed"
    hurt = [e for e in EVENTS if e.mono != 22.0]
    assert said(judge(replace(GOOD, events=hurt))) == ("failed", "healthy does not hold afterwards: as seen")


def test_conflicts_are_those_of_the_member_that_saw_most_also_when_one_began_anew() -> None:
    looks = [event(8.1, "conflicts", counts={"db-1": 5, "db-2": 1, "db-3": 7})]
    after = event(22.15, "conflicts", counts={"db-1": 2, "db-2": 4, "db-3": 7})
    assert judge(replace(GOOD, events=[*looks, *EVENTS, after])).conflicts == 3
    assert judge(GOOD).conflicts == 0
