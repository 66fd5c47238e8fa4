"""A verdict follows from a drill's folder alone; one that is not undone stands in the way of the next."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.errors import RefusedError, YiyunError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.drills.catalogue import shipped
from runbooks.drills.conduct import Folder, folders, refuse_unfinished, resume, summary, verdict_of
from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.journal import Journal, read_journal
from runbooks.drills.roles import resolved
from runbooks.drills.workloads.offered import OFFERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAB = load_estate("lab")
DRILL = resolved(shipped()["mysql-writer-kill"], LAB, {"writer": "db-1"})
FAULT = DRILL.method[0].faults[0].model_dump()
ORDER = {"kind": "process-killed", "host": "db-1", "unit": "mysql"}
OUTAGE_S = 0.5


def write(number: int, at: float, member: str, outcome: str = "ok") -> Operation:
    fields = {"client": 1, "number": number, "kind": "append", "target": "list-0", "value": number}
    when = {"intended": at, "began": at, "ended": at + 0.01}
    return Operation.model_validate({**fields, **when, "outcome": outcome, "member": member})


def evidence(root: Path, *, kept: int = 60, undone: bool = True) -> Folder:
    """Sixty appends, the writer killed after the thirtieth; the members hold the first `kept`."""
    folder = Folder(root / "20261124T000000Z-mysql-writer-kill-abc123")
    folder.path.mkdir(parents=True)
    folder.drill.write_text(DRILL.model_dump_json(), encoding="utf-8")
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


def test_evidence_of_a_good_drill_passes_with_its_figures(tmp_path: Path) -> None:
    found = summary(verdict_of(evidence(tmp_path)))
    assert (found["verdict"], found["reasons"]) == ("passed", [])
    assert found["rto_s"] == pytest.approx(OUTAGE_S + 0.3, abs=0.05)
    assert (found["acknowledged"], found["lost"], found["indeterminate"]) == (60, 0, 0)


def test_one_acknowledged_write_that_nobody_holds_fails_it(tmp_path: Path) -> None:
    found = summary(verdict_of(evidence(tmp_path, kept=59)))
    assert (found["verdict"], found["lost"]) == ("failed", 1)


def test_evidence_without_its_end_never_passes(tmp_path: Path) -> None:
    folder = evidence(tmp_path)
    lines = folder.journal.read_text(encoding="utf-8").splitlines()
    folder.journal.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert verdict_of(folder).word == "aborted"
    folder.held.unlink()
    assert verdict_of(folder).word != "passed"


def offering(monkeypatch: pytest.MonkeyPatch, leave: Callable[..., None]) -> None:
    offer = replace(OFFERS["platform"], leave=leave)
    monkeypatch.setattr("runbooks.drills.conduct.OFFERS", {**OFFERS, "platform": offer})


def test_what_a_workload_left_at_the_platform_goes_with_the_next_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = EstatePaths(LAB.estate, tmp_path)
    folder = evidence(paths.root / "drills")
    journal = Journal(folder.journal)
    journal.note("load", kind="platform", total=0)
    journal.close()

    def cannot(*_: object) -> None:
        raise YiyunError("no router has a writer")

    calls: list[str] = []
    offering(monkeypatch, cannot)
    assert resume(LAB, paths, print) == []
    offering(monkeypatch, lambda *_: calls.append("left"))
    assert resume(LAB, paths, print) == [f"{folder.path.name}: what the platform workload made"]
    assert resume(LAB, paths, print) == []
    assert calls == ["left"], "once"
    said = [(e.name, e.fields.get("reason")) for e in read_journal(folder.journal)][-2:]
    assert said == [("not-cleared", "no router has a writer"), ("cleared", None)]


def test_a_drill_that_is_not_undone_stands_in_the_way(tmp_path: Path) -> None:
    paths = EstatePaths("x", tmp_path)
    folder = evidence(paths.root / "drills", undone=False)
    with pytest.raises(RefusedError, match=folder.path.name) as refused:
        refuse_unfinished(paths)
    assert "drill resume" in refused.value.hint
    assert [f.path for f in folders(paths)] == [folder.path]
    journal = Journal(folder.journal)
    journal.note("undone", order=ORDER, reason="")
    journal.close()
    refuse_unfinished(paths)
