"""A drill's evidence, small and whole, as the tests of reports share it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.evidence.observers import Sighting
from runbooks.drills.evidence.verdict import Evidence, judge
from runbooks.drills.journal import Event
from runbooks.drills.model import Drill
from runbooks.drills.reports.compose import compose

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
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
    "silent": [],
}
FILES = {"journal.jsonl": b"a", "history.jsonl": b"b"}


EPOCH = 1_795_000_000
"""Unix seconds where the sample's monotonic clock began."""


def event(mono: float, name: str, **fields: Any) -> Event:
    at = datetime.fromtimestamp(EPOCH + mono, UTC).isoformat(timespec="milliseconds")
    return Event(name, at, mono, fields)


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
    event(20.2, "collected", operations=4),
)
HISTORY = (
    append(1, 9.5),
    append(2, 9.85),
    append(3, 10.05, 0.5, "unknown"),
    append(4, 10.3, 0.3, "ok", "db-2"),
)
HELD = (Held(member="db-2", gtid_set="g:1-3", lists={"list-0": [1, 2, 4]}, registers={}, total=100),)
DOWN = "db-1 is DOWN, reason: Layer4 connection problem, info: Connection refused, check duration: 0ms"
SEEN = (
    Sighting(layer="router", host="app-1", at=EPOCH + 10.12, subject="db-1", gone=True, text=DOWN),
    Sighting(layer="alert", host="db-1", at=EPOCH + 12.5, subject="db-1", text="MySQL member is out"),
)
EVIDENCE = Evidence(DRILL, EVENTS, HISTORY, HELD, 100, SEEN, {"db-1"})


def report(evidence: Evidence = EVIDENCE) -> dict[str, Any]:
    return compose(evidence, judge(evidence), ABOUT, FILES)
