"""Folders of drills as a lab would leave them, without a lab: evidence that passes, and what goes with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra.estate.loading import load_estate
from runbooks.drills.catalogue import shipped
from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.folder import Folder
from runbooks.drills.journal import Journal
from runbooks.drills.roles import resolved

if TYPE_CHECKING:
    from pathlib import Path

LAB = load_estate("lab")
DRILL = resolved(shipped()["mysql-writer-kill"], LAB, {"writer": "db-1"})
FAULT = DRILL.method[0].faults[0].model_dump()
ORDER = {"kind": "process-killed", "host": "db-1", "unit": "mysql"}
OUTAGE_S = 0.5
NAME = "20261124T000000Z-mysql-writer-kill-abc123"
ABOUT = {
    "estate": {"name": "lab", "scope": "lab", "config_sha256": "1" * 64, "versions": {"mysql": "9.7.4"}},
    "people": {"operator": "root", "approver": "", "observer": ""},
    "silent": [],
}


def write(number: int, at: float, member: str, outcome: str = "ok") -> Operation:
    """An append of one client."""
    fields = {"client": 1, "number": number, "kind": "append", "target": "list-0", "value": number}
    when = {"intended": at, "began": at, "ended": at + 0.01}
    return Operation.model_validate({**fields, **when, "outcome": outcome, "member": member})


def evidence(
    root: Path,
    *,
    kept: int = 60,
    undone: bool = True,
    name: str = NAME,
) -> Folder:
    """Sixty appends, the writer killed after the thirtieth; the members hold the first `kept`."""
    folder = Folder(root / name)
    folder.path.mkdir(parents=True)
    folder.drill.write_text(DRILL.model_dump_json(), encoding="utf-8")
    folder.keep_about({"id": name, **ABOUT})
    holds = [{"probe": "one-writer", "holds": True, "text": "as declared"}]
    journal = Journal(folder.journal)
    journal.note("began")
    journal.note("observed", when="before", probes=holds)
    journal.note("load", total=10000)
    journal.note("will-undo", order=ORDER)
    fault = journal.note("fault", fault=FAULT).mono
    journal.note("effect", fault=FAULT, bites=True)
    if undone:
        journal.note("undone", order=ORDER, reason="")
        journal.note("observed", when="after", probes=holds)
        journal.note("ended")
        journal.note("collected", operations=60)
    journal.close()
    before = [write(n, fault - 1 + n / 31, "db-1") for n in range(30)]
    after = [write(n, fault + OUTAGE_S + n / 100, "db-2") for n in range(30, 60)]
    lines = [op.model_dump_json() for op in [*before, *after]]
    folder.history.write_text("\n".join(lines) + "\n", encoding="utf-8")
    held = Held(
        member="db-2", gtid_set="g:1-60", lists={"list-0": list(range(kept))}, registers={}, total=10000
    )
    folder.held.write_text(json.dumps([held.model_dump()]), encoding="utf-8")
    return folder
