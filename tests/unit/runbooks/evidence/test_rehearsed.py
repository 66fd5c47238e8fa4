"""The verdict of a rehearsal: each thing that must hold, taken away once."""

from __future__ import annotations

from typing import Any

import pytest

from runbooks.drills.catalogue import shipped
from runbooks.drills.evidence.rehearsed import phases_of, told_of
from runbooks.drills.evidence.verdict import Evidence, Verdict, judge
from runbooks.drills.journal import Event
from runbooks.drills.rehearsal import COMPARED, Rehearsal

DRILL = shipped()["remote-backup"]
assert isinstance(DRILL, Rehearsal)


def event(name: str, mono: float, /, **fields: Any) -> Event:
    at = f"2026-11-29T00:{int(mono) // 60:02d}:{mono % 60:06.3f}+00:00"
    return Event(name, at, mono, fields)


def good(serving: float = 200.0, behind: float = 1.2) -> list[Event]:
    held = [event("compared", 300 + n, what=w, of=7, problems=[], text="") for n, w in enumerate(COMPARED)]
    return [
        event("began", 0.0, seed=3),
        event("source", 9.0, gtids="a:1-9", entry="db-3.4", tables=7, rows=70, behind_s=behind, region="far"),
        event("gone", 10.0),
        event("phase", 10.5, name="escrow"),
        event("phase", 14.0, name="data"),
        event("serving", 10.0 + serving, name="serving"),
        *held,
        event("taken-down", 320.0, left=[]),
        event("ended", 321.0),
    ]


def verdict(events: list[Event]) -> Verdict:
    return judge(Evidence(drill=DRILL, events=events, history=(), held=(), total=0))


def test_whole_and_in_time_it_passes_with_its_figures() -> None:
    found = verdict(good())
    assert (found.word, found.reasons) == ("passed", ())
    assert found.felt is not None
    assert (found.felt.rto, found.rpo, found.findings.acknowledged) == (200.0, 1.2, 70)


def without(name: str, what: str = "") -> list[Event]:
    return [e for e in good() if e.name != name or (what and e.fields.get("what") != what)]


def changed(name: str, what: str = "", **fields: Any) -> list[Event]:
    return [
        Event(e.name, e.at, e.mono, e.fields | fields)
        if e.name == name and (not what or e.fields["what"] == what)
        else e
        for e in good()
    ]


@pytest.mark.parametrize(
    ("events", "word", "code"),
    [
        (without("source"), "void", "no-source"),
        (without("gone"), "void", "no-source"),
        (without("serving"), "failed", "not-served"),
        (good(serving=601.0), "failed", "too-slow"),
        (good(behind=5.5), "failed", "too-far-behind"),
        (changed("compared", "tables", problems=["bank.x has 1 rows, not 2"]), "failed", "violation"),
        (changed("compared", "isolation", problems=["db-1 reaches 203.0.113.10"]), "failed", "violation"),
        (changed("compared", "attachments", of=0), "failed", "not-compared"),
        *((without("compared", what), "failed", "not-compared") for what in COMPARED),
        (changed("taken-down", left=["namespace yy-r-lab-vpc"]), "failed", "not-undone"),
        (without("taken-down"), "failed", "not-undone"),
        (without("ended"), "aborted", "controller-died"),
        ([*good(), event("aborted", 322.0, name="aborted", reason="no disk")], "aborted", "given-up"),
    ],
)
def test_whatever_is_missing_or_differs_is_told(events: list[Event], word: str, code: str) -> None:
    found = verdict(events)
    assert found.word == word
    assert code in {reason.code for reason in found.reasons}
    assert all(str(reason) for reason in found.reasons)


def test_what_differs_is_failed_also_when_it_was_given_up() -> None:
    events = changed("compared", "tables", problems=["bank.x is missing"])
    assert verdict([*events, event("aborted", 322.0, name="aborted", reason="x")]).word == "failed"


def test_phases_follow_each_other_from_the_moment_on() -> None:
    assert phases_of(good()) == [
        {"name": "escrow", "t": 0.5, "seconds": 3.5},
        {"name": "data", "t": 4.0, "seconds": 196.0},
    ]
    assert told_of(good())["source"]["entry"] == "db-3.4"
    assert phases_of(without("gone")) == []
