"""Status judges facts: what is down, missing or about to end is a problem with a name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.estate.addresses import host_addresses
from infra.estate.loading import load_estate
from infra.status import judge
from infra.trust.authority import LeafSpec, make_leaf, make_root
from tests.backed_up import add_backups

LAB = load_estate("lab")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ROOT = make_root("lab", NOW)
ZABBIX = {"reachable": True, "hosts_monitored": 10, "hosts_expected": 10, "problems": []}


def healthy() -> dict[str, dict[str, Any]]:
    leaf = make_leaf(ROOT, LeafSpec("x"), NOW).certificate
    facts: dict[str, dict[str, Any]] = {
        h.name: {"failed_units": [], "certificates": {"x": leaf}} for h in LAB.hosts
    }
    for name in ("db-1", "db-2", "db-3"):
        facts[name]["mysql"] = {"ready": True, "sample": {"state": "ONLINE"}}
    for name in ("app-1", "app-2"):
        facts[name]["db_writer"] = {"writer": "db-1", "stray": {}}
        facts[name]["platform"] = {"ready": True, "version": "1"}
        facts[name]["attachments"] = {"mounted": True, "answers": True}
    complete = (NOW - timedelta(seconds=70)).isoformat()
    facts["ops-1"]["object_copy"] = {"copies": [{"copy": "attachments-remote", "complete_at": complete}]}
    paths = [{"name": g, "up": True, "rtt_ms": 1.0} for g in ("ops-1", "app-2")]
    facts["edge-1"]["line"] = {"path": "ops-1", "paths": paths}
    add_backups(facts, LAB, NOW)
    return facts


def test_a_member_without_a_majority_says_nothing_of_the_others() -> None:
    """Cut off from both: it sees nobody, and those two are well."""
    facts = healthy()
    alone, both = views(("db-2",), ("db-1", "db-3"))
    facts["db-2"]["mysql"]["sample"] |= {"members": alone | dict.fromkeys(both, "UNREACHABLE")}
    for name in ("db-1", "db-3"):
        facts[name]["mysql"]["sample"] |= {"members": both | dict.fromkeys(alone, "UNREACHABLE")}
    members = judge(LAB, facts, NOW, ZABBIX).fields["mysql"]["members"]
    assert [m["state"] for m in members] == ["ONLINE", "UNREACHABLE", "ONLINE"]


def test_a_healthy_estate_has_no_problems() -> None:
    status = judge(LAB, healthy(), NOW, ZABBIX)
    assert status.ok
    assert status.fields["mysql"]["writer"] == "db-1"
    assert status.fields["line"] == {
        "up": True,
        "path": "ops-1",
        "paths": [{"name": "ops-1", "up": True, "rtt_ms": 1.0}, {"name": "app-2", "up": True, "rtt_ms": 1.0}],
    }
    storage = {b["name"]: b for b in status.fields["object_storage"]}
    assert [m["host"] for m in storage["attachments"]["mounts"]] == ["app-1", "app-2"]
    assert storage["attachments-remote"]["age_s"] == 70


def break_host(facts: dict[str, Any]) -> None:
    facts["ora-1"] = {}


def break_member(facts: dict[str, Any]) -> None:
    facts["db-2"]["mysql"] = {"ready": False, "sample": {"state": "RECOVERING"}}


def expel_member(facts: dict[str, Any]) -> None:
    """Cut off, and back: the others have removed it, and itself has not noticed."""
    by_itself, by_others = views(("db-1", "db-2", "db-3"), ("db-1", "db-3"))
    facts["db-2"]["mysql"]["sample"] |= {"members": by_itself}
    for name in ("db-1", "db-3"):
        facts[name]["mysql"]["sample"] |= {"members": by_others}


def views(*groups: tuple[str, ...]) -> list[dict[str, str]]:
    addresses = host_addresses(LAB)
    return [{str(addresses[name]): "ONLINE" for name in group} for group in groups]


def break_agreement(facts: dict[str, Any]) -> None:
    facts["app-2"]["db_writer"] = {"writer": "db-2"}


def leave_sessions(facts: dict[str, Any]) -> None:
    """The table moved, and one router's pool still writes to the old member."""
    facts["app-2"]["db_writer"] = {"writer": "db-1", "stray": {"db-3": 4}}


def break_path(facts: dict[str, Any]) -> None:
    facts["edge-1"]["line"]["paths"][1]["up"] = False


def break_platform(facts: dict[str, Any]) -> None:
    facts["app-1"]["platform"]["ready"] = False


def break_unit(facts: dict[str, Any]) -> None:
    facts["ops-1"]["failed_units"] = ["chrony.service"]


def break_mount(facts: dict[str, Any]) -> None:
    facts["app-2"]["attachments"] = {"mounted": True, "answers": False}


def break_copy(facts: dict[str, Any]) -> None:
    old = (NOW - timedelta(minutes=42)).isoformat()
    facts["ops-1"]["object_copy"]["copies"][0]["complete_at"] = old


def lose_copy(facts: dict[str, Any]) -> None:
    facts["ops-1"]["object_copy"] = None


def break_certificate(facts: dict[str, Any]) -> None:
    facts["db-1"]["certificates"]["x"] = make_leaf(ROOT, LeafSpec("x"), NOW - timedelta(days=85)).certificate


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (break_host, "ora-1 does not answer"),
        (break_member, "mysql: 2 of 3 members are ONLINE"),
        (expel_member, "mysql: 2 of 3 members are ONLINE"),
        (break_agreement, "mysql: the routers do not agree on one writer"),
        (leave_sessions, "mysql: the routers do not agree on one writer"),
        (break_path, "line: path over app-2 is down"),
        (break_platform, "platform: app-1 is not ready"),
        (break_unit, "ops-1: unit chrony.service has failed"),
        (break_mount, "object storage: attachments does not answer on app-2"),
        (break_copy, "object storage: attachments-remote is 42 minutes old"),
        (lose_copy, "object storage: attachments-remote was never completed"),
        (break_certificate, "certificate db-1/x ends in 5 days"),
    ],
)
def test_each_fault_is_the_one_problem(fault, problem: str) -> None:
    facts = healthy()
    fault(facts)
    assert judge(LAB, facts, NOW, ZABBIX).problems == (problem,)
