"""What of the backups is a problem: late, lacking a region, not streaming, never restored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.backup_status import backup_problems, backup_status
from infra.estate.loading import load_estate
from tests import backed_up

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ESTATE = load_estate("lab")
REGIONS = ("cn-north-1", "cn-east-2")


def entry(hours: float, **more: Any) -> dict[str, Any]:
    return backed_up.entry(ESTATE, NOW, hours, **more)


def facts() -> dict[str, dict[str, Any]]:
    """Of an estate whose backups are well."""
    found: dict[str, dict[str, Any]] = {h.name: {} for h in ESTATE.hosts}
    backed_up.add_backups(found, ESTATE, NOW)
    return found


def problems(found: dict[str, dict[str, Any]]) -> str:
    return "; ".join(backup_problems(ESTATE, backup_status(ESTATE, found, NOW)))


def test_all_four_questions_are_answered() -> None:
    status = backup_status(ESTATE, facts(), NOW)
    assert status["regions"] == list(REGIONS)
    assert {"mysql", "zabbix-database", "backup"} <= {one["what"] for one in status["saved"]}
    assert status["restored"]["seconds"] == 9.0
    assert backup_problems(ESTATE, status) == []


def test_each_fault_is_told() -> None:
    late = facts()
    late["db-3"]["backup"]["base"] = entry(30)
    assert "newest base of the database is 30 h old" in problems(late)
    one = facts()
    one["db-3"]["backup"]["base"] = entry(3, snapshots={REGIONS[0]: "s"})
    assert "mysql of db-3 is not in cn-east-2" in problems(one)
    none = facts()
    none["ops-1"]["backup"] = None
    assert "zabbix-database of ops-1 was never saved" in problems(none)
    old = facts()
    old["app-1"]["backup"]["snapshot backup"] = entry(27)
    assert "backup of app-1 is 27 h old" in problems(old)


def test_damage_that_was_read_and_a_region_that_nobody_reads_are_told() -> None:
    found = facts()
    looked = {"region": REGIONS[1], "problems": []}
    found["ops-1"]["backup"][f"read-back {REGIONS[1]}"] = entry(3, **looked)
    assert problems(found) == ""
    found["ops-1"]["backup"][f"read-back {REGIONS[1]}"] = entry(3, **looked | {"problems": ["gone"]})
    assert "ops-1 read damage in cn-east-2: gone" in problems(found)
    found["ops-1"]["backup"][f"read-back {REGIONS[1]}"] = entry(30, **looked)
    assert "ops-1 has not read cn-east-2 back for 30 h" in problems(found)


@pytest.mark.parametrize(
    "stream", [{"source": "", "regions": {}}, {"source": "db-1", "regions": {"x": {"behind_s": 90.0}}}, None]
)
def test_a_log_that_arrives_nowhere_is_told(stream: dict[str, Any] | None) -> None:
    found = facts()
    found["db-1"]["backup_log"] = stream
    assert "no stream of the database's log reaches every region" in problems(found)


def test_a_restore_that_was_wrong_or_long_ago_is_told() -> None:
    wrong = facts()
    wrong["ops-1"]["backup"]["tested"] |= {"ok": False, "problem": "x has other content"}
    assert "the last restore was not right: x has other content" in problems(wrong)
    old = facts()
    old["ops-1"]["backup"]["tested"]["ended"] = (NOW - timedelta(days=9)).isoformat()
    assert "no restore was tried for more than a week" in problems(old)
    never = facts()
    del never["ops-1"]["backup"]["tested"]
    assert problems(never) == "", "a new estate has a week"
    never["db-2"]["backup"]["base"] = entry(24 * 9)
    assert "no restore was tried" in problems(never)
