"""A drill's evidence → its report as data. Pure: what is not in the evidence is not in the report.

Moments are seconds from the fault (negative: before it). Nanoseconds and other numbers past 2^53 never occur:
canonical JSON (RFC 8785) cannot carry them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from runbooks.drills.evidence.history import WRITES
from runbooks.drills.evidence.observers import clock_of
from runbooks.drills.evidence.rehearsed import BEGUN, DOWN, LATER, LINE, SERVING, told_of
from runbooks.drills.evidence.timing import quantile, rounded
from runbooks.drills.evidence.verdict import RULES
from runbooks.drills.journal import named
from runbooks.drills.model import Drill
from runbooks.drills.rehearsal import Loss, Rehearsal
from runbooks.drills.reports.envelope import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbooks.drills.catalogue import AnyDrill
    from runbooks.drills.evidence.history import Operation
    from runbooks.drills.evidence.verdict import Evidence, Verdict
    from runbooks.drills.journal import Event

BUCKET_S = 0.2
"""Width of a column of the workload's graph."""
LIMITS = {
    "lab": "lab on one machine: latencies and times are not those of the provider's hosts",
    "provider": "on the provider's hosts, as they were at that moment",
    "self-declared": (
        "times are this machine's own; a time stamp beside the report says only that it was there by then"
    ),
    "no-linearizability": "the checker does not claim linearizability or serializability",
    "silent": "could not be asked: {who}",
}
"""What a report does not claim: code → words. Reports say them in other languages (`reports.words`)."""


def compose(
    evidence: Evidence, verdict: Verdict, about: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, Any]:
    """The report. `about`: as `drills.about` has it, with its place in the chain. `files`: name → content."""
    fault = _fault(evidence.events)
    began = named(evidence.events, "began")
    return {
        "schema": SCHEMA,
        "rules": RULES,
        **{name: about[name] for name in ("id", "seq", "prev_sha256", "estate", "people")},
        "started": evidence.events[0].at if evidence.events else "",
        "workload": evidence.drill.workload.model_dump(),
        "standard": {"edition": standards()["edition"]},
        "drill": {
            "name": evidence.drill.name,
            "title": evidence.drill.title.model_dump(),
            "seed": int(began[0].fields.get("seed", 0)) if began else 0,
            "hypothesis": list(evidence.drill.hypothesis),
            "faults": [f.model_dump() for phase in evidence.drill.method for f in phase.faults],
        },
        "objectives": evidence.drill.objectives.model_dump(),
        "timeline": timeline(evidence, verdict, fault),
        "graph": graph(evidence.history, fault),
        "result": result(verdict),
        "undo": [
            {"step": e["order"], "done": e.name == "undone", "reason": e["reason"]}
            for e in evidence.events
            if e.name in {"undone", "not-undone"}
        ],
        "deviations": [{"code": r.code, "values": dict(r.values), "text": str(r)} for r in verdict.reasons],
        "mapping": [
            {k: item[k] for k in ("item", "zh", "en", "claim")}
            for item in standards()["items"]
            if shown_by(evidence.drill) in item["by"]
        ],
        "evidence": [
            {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in sorted(files.items())
        ],
        "limits": limits(about),
        **rehearsal(evidence),
    }


def shown_by(drill: AnyDrill) -> str:
    """By what a drill shows anything of a standard: the way back that it went, or its workload."""
    return drill.workload.kind if isinstance(drill, Drill) else drill.rehearses


def rehearsal(evidence: Evidence) -> dict[str, Any]:
    """What only a rehearsal has."""
    return {"rehearsal": told_of(evidence.events)} if isinstance(evidence.drill, Rehearsal | Loss) else {}


def limits(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the report does not claim, by code, with the values of its words."""
    silent: list[str] = about["silent"]
    found: list[tuple[str, dict[str, str]]] = [
        (str(about["estate"]["scope"]), {}),
        ("self-declared", {}),
        ("no-linearizability", {}),
        *(("silent", {"who": who}) for who in silent),
    ]
    return [{"code": code, "values": values, "text": LIMITS[code].format(**values)} for code, values in found]


def result(verdict: Verdict) -> dict[str, Any]:
    """Verdict and figures."""
    findings, felt = verdict.findings, verdict.felt
    gaps = sorted(felt.gaps.values()) if felt else []
    return {
        "verdict": verdict.word,
        "rto_s": rounded(felt.rto if felt else None),
        "gap_s": {
            "p50": rounded(quantile(gaps, 0.5) if gaps else None),
            "max": rounded(gaps[-1] if gaps else None),
        },
        "rpo": {"lost": findings.count("lost"), "seconds": round(verdict.rpo, 3)},
        "acknowledged": findings.acknowledged,
        "failed": findings.failed,
        "failed_requests": felt.failed if felt else None,
        "added_p99_s": rounded(felt.added_p99 if felt else None),
        "added_p99_return_s": rounded(felt.added_p99_return if felt else None),
        "unknown": findings.unknown,
        "unknown_stored": findings.unknown_stored,
        "stale": findings.count("stale"),
        "conflicts": verdict.conflicts,
        "two_writers_s": rounded(verdict.two_writers),
        "violations": [{"fault": v.fault, "text": v.text} for v in findings.violations],
        "full_strength_s": rounded(verdict.full_strength),
    }


def timeline(evidence: Evidence, verdict: Verdict, fault: float | None) -> list[dict[str, Any]]:
    """What happened when, in order: the journal's events and what the clients saw."""
    if isinstance(evidence.drill, Rehearsal | Loss):
        return _of_rehearsal(evidence.events)
    if fault is None:
        return []
    rows = [(e.mono, e.name, "journal", _text(e)) for e in evidence.events if e.name in _SHOWN]
    felt = verdict.felt
    if felt and felt.last_before is not None:
        rows.append((felt.last_before, "last-good-write", "workload", ""))
    if felt and felt.first_after is not None:
        rows.append((felt.first_after, "first-good-write", "workload", ""))
    clock = clock_of(evidence.events)
    for sight in evidence.seen:
        kind = "alert" if sight.layer == "alert" else "seen"
        rows.append((clock.mono(sight.at), kind, f"{sight.layer} {sight.host}", sight.text))
    if verdict.full_strength is not None:
        rows.append((fault + verdict.full_strength, "full-strength", "probes", ""))
    return [
        {"t": rounded(at - fault), "kind": kind, "source": source, "text": text}
        for at, kind, source, text in sorted(rows)
    ]


def _of_rehearsal(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Its moments, from the one from which the estate counts as gone."""
    begun = named(events, BEGUN)
    shown = [e for e in events if e.name in {BEGUN, SERVING, LATER, LINE, DOWN, "aborted"}]
    return [
        {"t": rounded(e.mono - begun[0].mono), "kind": e.name, "source": "journal", "text": _text(e)}
        for e in shown
        if begun
    ]


def graph(history: Sequence[Operation], fault: float | None) -> list[dict[str, Any]]:
    """Writes by when they were due: acknowledged, failed, unknown, and the longest wait, a row a bucket."""
    if fault is None:
        return []
    columns: dict[int, list[Operation]] = {}
    for op in history:
        if op.kind in WRITES:
            columns.setdefault(int((op.intended - fault) // BUCKET_S), []).append(op)
    return [
        {
            "t": round(number * BUCKET_S, 3),
            **{outcome: sum(op.outcome == outcome for op in ops) for outcome in ("ok", "fail", "unknown")},
            "longest_s": round(max(op.ended - op.intended for op in ops), 3),
        }
        for number, ops in sorted(columns.items())
    ]


@cache
def standards() -> dict[str, Any]:
    """The items of standards that reports speak of."""
    text = resources.files("runbooks.drills.reports").joinpath("standards.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = YAML(typ="safe").load(text)
    return found


_SHOWN = frozenset(
    {"fault", "effect", "aborted", "undoing", "undone", "not-undone", "resumed", "not-settled"}
)


def _text(event: Event) -> str:
    about = event.fields.get("fault") or event.fields.get("order") or {}
    words = [str(about[k]) for k in ("kind", "host", "source", "destination", "unit") if about.get(k)]
    return " ".join([*words, str(event.fields.get("reason", ""))]).strip()


def _fault(events: Sequence[Event]) -> float | None:
    faults = named(events, "fault")
    return faults[0].mono if faults else None
