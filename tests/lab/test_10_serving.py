"""After `up`: everything is there, nothing is left to change, and a second run changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.harness import Lab


def test_status_shows_a_serving_estate(lab: Lab) -> None:
    answer = lab.yiyun("status")
    now = answer.json
    assert answer.code == 0, now
    assert now["problems"] == []
    assert [h["name"] for h in now["hosts"] if h["up"]] == [h.name for h in lab.estate.hosts]
    assert now["mysql"]["writer"] in {"db-1", "db-2", "db-3"}
    assert [m["state"] for m in now["mysql"]["members"]] == ["ONLINE"] * 3
    assert [p["up"] for p in now["line"]["paths"]] == [True, True]
    assert now["line"]["path"] in {"ops-1", "app-2"}
    assert now["scope"] == "lab"


def test_every_certificate_on_a_host_is_valid_for_weeks(lab: Lab) -> None:
    leaves = lab.yiyun("status").json["certificates"]
    assert len(leaves) >= 8
    for leaf in leaves:
        assert (datetime.fromisoformat(leaf["not_after"]) - datetime.now(UTC)).days > 28, leaf


def test_preview_right_after_up_is_empty(lab: Lab) -> None:
    answer = lab.yiyun("preview", "--exit-code")
    assert (answer.code, answer.json["changes"]) == (0, [])


def test_preview_of_a_changed_estate_names_the_property(lab: Lab, tmp_path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(
        f"estate: {lab.estate.estate}\nextends: {lab.source}\ninternet: {{bandwidth_mbps: 50}}\n",
        encoding="utf-8",
    )
    answer = type(lab)(changed).yiyun("preview", "--exit-code")
    assert answer.code == 2
    (change,) = answer.json["changes"]
    assert (change["kind"], change["action"]) == ("BandwidthPackage", "update")
    assert change["properties"] == [{"name": "mbps", "declared": 50, "actual": 100}]
    assert lab.yiyun("preview", "--exit-code").code == 0


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    answer = lab.yiyun("up", "--yes", seconds=1200)
    assert answer.code == 0, answer.json
    assert {s["name"]: s["changed"] for s in answer.json["steps"] if s["changed"]} == {}
    assert answer.json["changed"] == 0


def test_steps_can_be_listed_and_limited(lab: Lab) -> None:
    names = [s["name"] for s in lab.yiyun("up", "--list-steps").json["steps"]]
    assert (
        names.index("infrastructure") < names.index("realise") < names.index("data") < names.index("verify")
    )
    answer = lab.yiyun("up", "--only", "reach", "--yes")
    assert [s["name"] for s in answer.json["steps"] if s["status"] != "skipped"] == ["reach"]
    assert lab.yiyun("up", "--only", "nonsense", "--yes").code == 4
