"""The verdict of a lost region: what the last seconds may cost, and everything that they may not."""

from __future__ import annotations

from typing import Any

import pytest

from runbooks.drills.catalogue import shipped
from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.evidence.verdict import Evidence, Verdict, judge
from runbooks.drills.journal import Event
from runbooks.drills.rehearsal import Loss
from runbooks.drills.workloads.elements import element_of

DRILL = shipped()["region-loss"]
assert isinstance(DRILL, Loss)
GONE = 100.0


def event(name: str, mono: float, /, **fields: Any) -> Event:
    at = f"2026-11-29T00:{int(mono) // 60:02d}:{mono % 60:06.3f}+00:00"
    return Event(name, at, mono, fields)


def events(*without: str, **changed: dict[str, Any]) -> list[Event]:
    found = [
        event("began", 0.0, seed=3),
        event("gone", GONE),
        event("lost-things", GONE + 1.0, things=["db-1"], left=[]),
        event("phase", GONE + 1, name="data"),
        event("serving", GONE + 300, name="serving"),
        event("later", GONE + 301, first_client=8),
        event("line-found", GONE + 302, path="ops-1"),
        event(
            "compared",
            GONE + 330,
            **{"what": "results", "of": 90, "problems": [], "text": ""} | changed.get("compared", {}),
        ),
        event("taken-down", GONE + 400, left=changed.get("left", [])),
        event("ended", GONE + 401),
    ]
    return [e for e in found if e.name not in without]


def append(client: int, number: int, at: float, outcome: str = "ok") -> Operation:
    return Operation(
        client=client,
        number=number,
        kind="append",
        target=f"list-{client // 2}",
        value=element_of(client, number),
        intended=at,
        began=at,
        ended=at + 0.01,
        outcome=outcome,  # pyright: ignore[reportArgumentType]
        member="db-1" if outcome == "ok" else "",
        error="",
    )


BEFORE = [append(0, n, GONE - 10 + n * 0.5) for n in range(20)]
MEANWHILE = [append(0, 20 + n, GONE + n, "fail") for n in range(5)]
AFTER = [append(8, n, GONE + 302 + n) for n in range(3)]


def held(lost: int = 0) -> list[Held]:
    kept = [op.value for op in BEFORE[: len(BEFORE) - lost] if op.value is not None]
    lists = {"list-0": kept, "list-4": [op.value for op in AFTER if op.value is not None]}
    return [Held(member="db-1", gtid_set="a:1-9", lists=lists, registers={}, total=0)]


def verdict(found: list[Event], *, history: list[Operation] | None = None, lost: int = 0) -> Verdict:
    history = [*BEFORE, *MEANWHILE, *AFTER] if history is None else history
    return judge(Evidence(drill=DRILL, events=found, history=history, held=held(lost), total=0))


def test_the_first_write_of_who_came_after_it_ends_the_outage() -> None:
    found = verdict(events())
    assert (found.word, found.reasons) == ("passed", ())
    assert found.felt is not None
    assert found.felt.rto == pytest.approx(302.01)
    assert found.felt.failed == len(MEANWHILE)


def test_some_writes_of_the_last_seconds_may_be_gone_and_are_counted() -> None:
    found = verdict(events(), lost=3)
    assert found.word == "passed"
    assert found.findings.count("lost") == 3
    assert 2.4 < found.rpo < 3.0, "until the last machine was dead"


def test_more_seconds_than_the_objective_are_not() -> None:
    found = verdict(events(), lost=10)
    assert (found.word, {r.code for r in found.reasons}) == ("failed", {"too-far-behind"})


DOUBLED = held()[0].model_copy(
    update={"lists": {**held()[0].lists, "list-4": [*held()[0].lists["list-4"]] * 2}}
)


@pytest.mark.parametrize(
    ("found", "history", "word", "code"),
    [
        (events(), [*BEFORE, *MEANWHILE], "failed", "not-served"),
        (events("later"), None, "failed", "not-served"),
        (events("line-found"), None, "failed", "no-line"),
        (events("compared"), None, "failed", "not-compared"),
        (events(compared={"of": 0}), None, "failed", "not-compared"),
        (events(compared={"problems": ["doubled: x"]}), None, "failed", "violation"),
        (events(left=["db-1 is OFFLINE"]), None, "failed", "not-undone"),  # pyright: ignore[reportArgumentType]
        (events("taken-down"), None, "failed", "not-undone"),
        (events("ended"), None, "aborted", "controller-died"),
        (events("gone"), None, "void", "not-busy"),
        (events(), AFTER, "void", "not-busy"),
        (events(), [*BEFORE, append(8, 0, GONE + 700)], "failed", "too-slow"),
    ],
)
def test_whatever_else_is_missing_is_told(
    found: list[Event], history: list[Operation] | None, word: str, code: str
) -> None:
    told = verdict(found, history=history)
    assert told.word == word
    assert code in {reason.code for reason in told.reasons}


def test_what_is_there_twice_is_no_matter_of_seconds() -> None:
    evidence = Evidence(
        drill=DRILL, events=events(), history=[*BEFORE, *MEANWHILE, *AFTER], held=[DOUBLED], total=0
    )
    assert "violation" in {reason.code for reason in judge(evidence).reasons}
