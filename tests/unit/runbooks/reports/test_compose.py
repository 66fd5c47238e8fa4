"""A report says what the evidence says: figures, order of events, hashes of files, and what it leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.evidence.verdict import Evidence, judge
from runbooks.drills.journal import Event
from runbooks.drills.model import Drill
from runbooks.drills.reports.compose import compose, standards
from runbooks.drills.reports.envelope import seal, unseal

KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
KILLED = {"kind": "process-killed", "host": "db-1", "unit": "mysql"}
DRILL = Drill.model_validate(
    {
        "name": "mysql-writer-kill",
        "title": {"zh": "写入成员的进程被杀", "en": "The writer's process is killed"},
        "procedure": "mysql-member-out",
        "hypothesis": ["one-writer"],
        "workload": {"kind": "database", "rate": 40, "clients": 2},
        "method": [{"faults": [KILLED]}],
        "objectives": {"rto_s": 1.5},
    }
)
ABOUT = {
    "id": "x",
    "seq": 1,
    "prev_sha256": "0" * 64,
    "estate": {"name": "lab", "scope": "lab", "config_sha256": "1" * 64, "versions": {}},
    "people": {"operator": "root", "approver": "", "observer": ""},
}
FILES = {"journal.jsonl": b"a", "history.jsonl": b"b"}


def event(mono: float, name: str, **fields: Any) -> Event:
    return Event(name, "2026-11-24T00:00:00+00:00", mono, fields)


def append(
    number: int, due: float, took: float = 0.01, outcome: str = "ok", member: str = "db-1"
) -> Operation:
    fields = {"client": 1, "number": number, "kind": "append", "target": "list-0", "value": number}
    when = {"intended": due, "began": due, "ended": due + took}
    return Operation.model_validate({**fields, **when, "outcome": outcome, "member": member})


HOLDS = [{"probe": "one-writer", "holds": True, "text": "as declared"}]
EVENTS = (
    event(8.0, "began", seed=7),
    event(8.5, "observed", when="before", probes=HOLDS),
    event(9.9, "will-undo", order=KILLED),
    event(10.0, "fault", fault=KILLED),
    event(10.1, "effect", fault=KILLED, bites=True),
    event(16.0, "undone", order=KILLED, reason=""),
    event(20.0, "observed", when="after", probes=HOLDS),
    event(20.1, "ended"),
)
HISTORY = (
    append(1, 9.5),
    append(2, 9.85),
    append(3, 10.05, 0.5, "unknown"),
    append(4, 10.3, 0.3, "ok", "db-2"),
)
HELD = (Held(member="db-2", gtid_set="g:1-3", lists={"list-0": [1, 2, 4]}, registers={}, total=100),)
EVIDENCE = Evidence(DRILL, EVENTS, HISTORY, HELD, 100, {"db-1"})


def report(evidence: Evidence = EVIDENCE) -> dict[str, Any]:
    return compose(evidence, judge(evidence), ABOUT, FILES)


def test_it_can_be_signed_and_read_back_word_for_word() -> None:
    made = report()
    assert unseal(seal(made, KEY), KEY.public_key()).report == made


def test_its_figures_are_the_verdicts() -> None:
    result = report()["result"]
    assert (result["verdict"], result["rto_s"], result["full_strength_s"]) == ("passed", 0.6, 10.0)
    assert (result["acknowledged"], result["unknown"], result["unknown_stored"]) == (3, 1, 0)
    assert result["gap_s"]["max"] == 0.74


def test_its_timeline_is_in_order_from_the_last_good_write_to_full_strength() -> None:
    rows = report()["timeline"]
    assert [r["t"] for r in rows] == sorted(r["t"] for r in rows)
    kinds = [r["kind"] for r in rows]
    assert kinds == ["last-good-write", "fault", "effect", "first-good-write", "undone", "full-strength"]
    assert rows[1]["text"] == "process-killed db-1 mysql"


def test_its_graph_counts_every_write_once_by_when_it_was_due() -> None:
    columns = report()["graph"]
    assert sum(c["ok"] + c["fail"] + c["unknown"] for c in columns) == len(HISTORY)
    assert [c["t"] for c in columns] == [-0.6, -0.2, 0.0, 0.2]
    assert columns[2]["longest_s"] == 0.5


def test_it_names_each_file_of_evidence_by_its_hash() -> None:
    named = {e["file"]: (e["sha256"], e["bytes"]) for e in report()["evidence"]}
    assert named == {name: (hashlib.sha256(data).hexdigest(), 1) for name, data in FILES.items()}


def test_it_says_its_scope_and_what_it_does_not_cover() -> None:
    made = report()
    assert "not those of the provider" in made["limits"][0]
    claims = {item["item"]: item["claim"] for item in made["mapping"]}
    assert claims["GB/T 22239-2019 8.1.4.9 b"] == "not_covered"
    assert set(claims.values()) == {"measured", "declared", "not_covered"}
    assert {i["claim"] for i in standards()["items"]} <= {"measured", "declared", "not_covered"}


def test_what_failed_is_in_it_by_name() -> None:
    lost = HELD[0].model_copy(update={"lists": {"list-0": [1, 2]}})
    made = report(replace(EVIDENCE, held=(lost,)))
    assert made["result"]["verdict"] == "failed"
    assert made["result"]["rpo"]["lost"] == 1
    assert any(line.startswith("lost:") for line in made["deviations"])
