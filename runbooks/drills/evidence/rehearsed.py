"""The verdict of a rehearsal, from its journal and nothing else. Pure: anyone can compute it again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from runbooks.drills.evidence.checkers import Findings, Violation
from runbooks.drills.evidence.observers import clock_of
from runbooks.drills.evidence.timing import Felt
from runbooks.drills.journal import named
from runbooks.drills.rehearsal import COMPARED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbooks.drills.journal import Event
    from runbooks.drills.model import Objectives

BEGUN, SERVING, DOWN = "gone", "serving", "taken-down"
LATER, LINE = "later", "line-found"
"""Events: the moment from which the estate counts as gone; a page was served; the hosts went that were made.
Of a loss besides: clients came anew, from a first number on; the premises found the successor."""
Told = tuple[str, dict[str, str]]
"""A reason's code and the values of its words."""


def findings_of(events: Sequence[Event]) -> Findings:
    """What differs is a violation. `acknowledged`: rows that were held beside their source."""
    violations = [
        Violation("differs", f"{event['what']}: {problem}")
        for event in named(events, "compared")
        for problem in event["problems"]
    ]
    rows = sum(int(event["rows"]) for event in named(events, "source"))
    return Findings(rows, 0, 0, 0, tuple(violations))


def felt_of(events: Sequence[Event]) -> Felt | None:
    """From when the estate counts as gone until a page was served. None without that moment."""
    begun, serving = named(events, BEGUN), named(events, SERVING)
    if not begun:
        return None
    rto = serving[0].mono - begun[0].mono if serving else None
    return Felt(rto=rto, gaps={}, last_before=None, first_after=None, late=0, refused=0)


def behind_of(events: Sequence[Event]) -> float:
    """Seconds of the log that the other region did not have yet when the source was read."""
    return max((float(event["behind_s"]) for event in named(events, "source")), default=0.0)


def void(events: Sequence[Event]) -> Iterator[Told]:
    """It proves nothing: nothing was to come back."""
    if not named(events, "source") or not named(events, BEGUN):
        yield "no-source", {}


def aborted(events: Sequence[Event], tolerance: float) -> Iterator[Told]:
    """It was given up."""
    for event in named(events, "aborted"):
        yield "given-up", {"reason": str(event["reason"])}
    if not named(events, "ended"):
        yield "controller-died", {}
    clock = clock_of(events)
    if clock.jumped > tolerance:
        yield "clock-jumped", {"seconds": f"{clock.jumped:.1f}"}


def failed(events: Sequence[Event], wanted: Objectives) -> Iterator[Told]:
    """What was not reached, what differs, and what is left of the scratch hosts."""
    felt = felt_of(events)
    if felt is None or felt.rto is None:
        yield "not-served", {}
    elif felt.rto > wanted.rto_s:
        yield "too-slow", {"rto": f"{felt.rto:.2f}", "wanted": f"{wanted.rto_s:.2f}"}
    if (behind := behind_of(events)) > wanted.rpo_s:
        yield "too-far-behind", {"seconds": f"{behind:.1f}", "wanted": f"{wanted.rpo_s:.1f}"}
    compared = {event["what"]: int(event["of"]) for event in named(events, "compared")}
    for what in COMPARED:
        if not compared.get(what):
            yield "not-compared", {"what": what}
    for violation in findings_of(events).violations:
        yield "violation", {"fault": violation.fault, "text": violation.text}
    yield from not_down(events)


def not_down(events: Sequence[Event]) -> Iterator[Told]:
    """What was made and still stands."""
    down = named(events, DOWN)
    if not down:
        yield "not-undone", {"reason": "nobody took down what was made"}
    for left in down[-1]["left"] if down else ():
        yield "not-undone", {"reason": str(left)}


def phases_of(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Each phase: when it began, seconds from when the estate counts as gone, and how long it took."""
    begun = named(events, BEGUN)
    if not begun:
        return []
    marks = [e for e in events if e.name in {"phase", SERVING, "aborted"} and e.mono >= begun[0].mono]
    return [
        {
            "name": here["name"],
            "t": round(here.mono - begun[0].mono, 3),
            "seconds": round(following.mono - here.mono, 3),
        }
        for here, following in itertools.pairwise(marks)
        if here.name == "phase"
    ]


def told_of(events: Sequence[Event]) -> dict[str, Any]:
    """What a report of a rehearsal says besides: phases, comparisons, and of which moment the data is."""
    source = named(events, "source")
    facts = ("gtids", "entry", "tables", "rows", "behind_s", "region")
    return {
        "source": {name: source[0].fields.get(name) for name in facts} if source else {},
        "phases": phases_of(events),
        "compared": [
            {"what": e["what"], "of": e["of"], "problems": e["problems"], "text": e["text"]}
            for e in named(events, "compared")
        ],
    }
