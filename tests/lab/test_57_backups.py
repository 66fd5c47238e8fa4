"""Backups: taken, in both regions, restored from the far one alone and equal to the source."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.lab.hospital import arrive, new_results
from tests.lab.long import long
from tests.lab.test_55_attachments import in_bucket
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.lab.harness import Lab


def far(lab: Lab) -> str:
    return lab.yiyun("backup", "plan").json["stores"][-1]["region"]


def test_everything_is_saved_and_is_in_both_regions(lab: Lab) -> None:
    taken = lab.yiyun("backup", "run")
    assert (taken.code, taken.json["problems"]) == (0, []), taken.json
    assert {t["what"] for t in taken.json["taken"]} >= {"mysql", "zabbix-database", "backup"}
    found = lab.yiyun("backup", "verify", "--region", far(lab), "--all")
    assert (found.code, found.json["problems"]) == (0, []), found.json
    regions = [s["region"] for s in lab.yiyun("backup", "plan").json["stores"]]
    listed = {b["id"]: b["where"] for b in lab.yiyun("backup", "list").json["backups"]}
    assert {t["id"]: sorted(regions) for t in taken.json["taken"]}.items() <= listed.items()


def test_a_restore_from_the_far_region_equals_its_source(lab: Lab) -> None:
    orders = new_results(lab, 3)
    arrive(lab, orders)
    tried = lab.yiyun("backup", "test")
    assert (tried.code, tried.json["problems"]) == (0, []), tried.json
    assert tried.json["region"] == far(lab)
    assert tried.json["tables"] > 10
    assert tried.json["held_s"] < 1.0
    print(f"restored and compared in {tried.json['seconds']} s: {tried.json['phases']}")  # noqa: T201


def test_the_database_is_asked_as_it_was(lab: Lab) -> None:
    arrive(lab, new_results(lab, 1))
    before = datetime.now(UTC).isoformat()
    count = "SELECT COUNT(*) FROM yiyun.observation"
    then = lab.yiyun("backup", "query", count, "--at", before)
    assert then.code == 0, then.json
    arrive(lab, new_results(lab, 2))
    again = lab.yiyun("backup", "query", count, "--at", before, "--region", far(lab))
    assert again.json["rows"] == then.json["rows"]
    refused = lab.yiyun("backup", "query", "DROP TABLE yiyun.observation", "--at", before)
    assert refused.code == 4, refused.json
    early = lab.yiyun("backup", "query", count, "--at", "2020-01-01T00:00:00+08:00")
    assert early.code == 4, early.json


@long
def test_one_table_and_one_attachment_come_back_alone(lab: Lab) -> None:
    table = lab.yiyun("backup", "restore", "yiyun.observation", "--to", "one-table")
    assert table.code == 0, table.json
    (count,) = lab.yiyun("backup", "query", "SELECT COUNT(*) FROM yiyun.observation").json["rows"][0]
    assert (table.json["host"], table.json["rows"]) == ("ops-1", int(count))
    assert "CREATE TABLE `observation`" in lab.on("ops-1", "grep", "-m1", "CREATE TABLE", table.json["file"])
    lab.on("app-1", "sh", "-c", "echo first > /srv/attachments/backup-test")
    taken = datetime.now(UTC)
    eventually(lambda: copied(lab, "backup-test"), seconds=150, every=2)
    found = lab.yiyun("backup", "restore", "attachments/backup-test", "--to", "one-object")
    assert found.code == 0, found.json
    assert lab.on("ops-1", "cat", found.json["file"]).strip() == "first"
    assert found.json["bucket"] == "attachments-remote"
    early = (taken - timedelta(hours=9)).isoformat()
    refused = lab.yiyun("backup", "restore", "attachments/backup-test", "--at", early, "--to", "x")
    assert refused.code == 4, refused.json
    lab.on("ops-1", "rm", "-r", "/data/restore/one-table", "/data/restore/one-object")


def copied(lab: Lab, key: str) -> bool:
    return key in in_bucket(lab, "attachments-remote", key)


def test_a_night_goes_by_in_the_units_own_sandbox_and_the_stream_goes_on(lab: Lab) -> None:
    for host in ("db-1", "ops-1"):
        for unit in ("save", "care"):
            lab.on(host, "systemctl", "start", f"yiyun-backup-{unit}.service", seconds=600)
    streams = json.loads(lab.on("db-1", "yiyun-backup", "status"))
    assert max(region["behind_s"] for region in streams["regions"].values()) < 10, streams
    lab.on("ops-1", "systemctl", "start", "yiyun-backup-rehearse.service", seconds=600)
    status = lab.yiyun("status").json["backups"]
    assert {one["region"] for one in status["read_back"]} == set(status["regions"])
    assert not [one for one in status["read_back"] if one["problems"]]
    assert (status["restored"]["region"], status["restored"]["ok"]) == (far(lab), True)
    assert status["restored"]["age_s"] < 600
    base = next(b for b in lab.yiyun("backup", "list").json["backups"] if b["what"] == "mysql")
    assert base["verified"]
    assert base["covers_to"] > base["covers_from"]


@long
def test_a_hold_is_laid_on_and_taken_off_and_pruning_removes_nothing_of_today(lab: Lab) -> None:
    base = next(b["id"] for b in lab.yiyun("backup", "list").json["backups"] if b["what"] == "mysql")
    held = lab.yiyun("backup", "hold", base, "--by", "li", "--reason", "case 7")
    assert (held.code, held.json["held"]) == (0, [base]), held.json
    listed = {b["id"]: b["held_until"] for b in lab.yiyun("backup", "list").json["backups"]}
    assert listed[base] == "held"
    shown = lab.yiyun("backup", "show", base).json
    assert (shown["held"], shown["later"][-1]["body"]["reason"]) == (True, "case 7")
    pruned = lab.yiyun("backup", "prune", "--dry-run")
    assert (pruned.code, pruned.json["entries"], pruned.json["held"]) == (0, [], [base]), pruned.json
    off = lab.yiyun("backup", "hold", base, "--off", "--by", "li", "--reason", "closed")
    assert (off.code, off.json["held"]) == (0, []), off.json
    assert lab.yiyun("backup", "copy").json["copied"] == []


@pytest.mark.parametrize("words", [("--at", "yesterday"), ("--at", "2026-01-01T00:00:00Z", "--gtid", "x:1")])
def test_a_moment_that_is_none_is_refused(lab: Lab, words: tuple[str, ...]) -> None:
    assert lab.yiyun("backup", "restore", *words).code == 4
