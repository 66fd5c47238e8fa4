"""A report says what the evidence says: figures, order of events, hashes of files, and what it leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from runbooks.drills.reports.compose import standards
from runbooks.drills.reports.envelope import seal, unseal
from runbooks.drills.workloads.offered import OFFERS
from tests.drill_sample import EVIDENCE, FILES, HELD, HISTORY, KEY, report


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
    assert kinds == [
        *("last-good-write", "fault", "effect", "seen", "first-good-write"),
        *("alert", "undone", "full-strength"),
    ]
    assert rows[1]["text"] == "process-killed db-1 mysql"
    assert (rows[3]["t"], rows[3]["source"]) == (0.12, "router app-1")


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
    assert "not those of the provider" in made["limits"][0]["text"]
    claims = {item["item"]: item["claim"] for item in made["mapping"]}
    assert claims["GB/T 22239-2019 8.1.4.9 b"] == "not_covered"
    assert set(claims.values()) == {"measured", "declared", "not_covered"}
    assert {i["claim"] for i in standards()["items"]} <= {"measured", "declared", "not_covered"}


def test_what_failed_is_in_it_by_name() -> None:
    lost = HELD[0].model_copy(update={"lists": {"list-0": [1, 2]}})
    made = report(replace(EVIDENCE, held=(lost,)))
    assert made["result"]["verdict"] == "failed"
    assert made["result"]["rpo"]["lost"] == 1
    assert any(d["text"].startswith("lost:") for d in made["deviations"])


def test_a_drill_speaks_of_the_redundancy_that_its_workload_crossed() -> None:
    data, line = "GB/T 22239-2019 8.1.4.9 c", "GB/T 22239-2019 8.1.2.1 e"

    def said(kind: str) -> set[str]:
        workload = EVIDENCE.drill.workload.model_copy(update={"kind": kind})
        made = report(replace(EVIDENCE, drill=EVIDENCE.drill.model_copy(update={"workload": workload})))
        return {item["item"] for item in made["mapping"]}

    assert {kind: said(kind) & {data, line} for kind in OFFERS} == {
        "database": {data},
        "platform": {data},
        "line": {line},
        "hospital": set(),
    }
    assert all("GB/T 22239-2019 8.1.10.13 c" in said(kind) for kind in OFFERS), "every drill is a drill"
