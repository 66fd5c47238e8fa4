"""Probes of the hypothesis: each holds on a whole estate, and names what does not hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runbooks.drills.ground import PROBES

WHOLE: dict[str, Any] = {
    "hosts": [
        {"name": "db-1", "roles": ["db"], "up": True},
        {"name": "edge-1", "roles": ["edge"], "up": True},
    ],
    "mysql": {"writer": "db-1", "members": [{"name": "db-1", "state": "ONLINE"}]},
    "line": {"up": True, "path": "ops-1", "paths": [{"name": "ops-1", "up": True}]},
    "platform": [{"host": "app-1", "ready": True}],
    "collector": {"waiting": 0},
    "certificates": [{"name": "app-1/proxy", "not_after": "2999-01-01T00:00:00+00:00"}],
    "object_storage": [
        {"name": "attachments", "copy_of": "", "mounts": [{"host": "app-1", "answers": True}]},
        {"name": "attachments-remote", "copy_of": "attachments", "age_s": 60},
    ],
    "zabbix": {"reachable": True, "hosts_monitored": 9, "hosts_expected": 9},
}
PLANTED: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("all-members-online", ("mysql", "members", 0, "state"), "RECOVERING", "db-1 is RECOVERING"),
    ("one-writer", ("mysql", "writer"), None, "do not agree"),
    ("platform-ready", ("platform", 0, "ready"), False, "app-1 is not ready"),
    ("line-up", ("line", "paths", 0, "up"), False, "over ops-1 is down"),
    ("line-any-path", ("line", "up"), False, "no path"),
    ("hosts-up", ("hosts", 0, "up"), False, "db-1 does not answer"),
    ("edge-up", ("hosts", 1, "up"), False, "edge-1 does not answer"),
    ("edge-up", ("collector",), {}, "collector says nothing"),
    ("storage-answers", ("object_storage", 0, "mounts", 0, "answers"), False, "app-1"),
    ("copies-fresh", ("object_storage", 1, "age_s"), None, "no whole copy"),
    ("copies-fresh", ("object_storage", 1, "age_s"), 10_000, "no whole copy"),
    ("monitoring-reachable", ("zabbix", "reachable"), False, "does not answer"),
    ("monitoring-reachable", ("zabbix", "hosts_monitored"), 7, "2 hosts are not watched"),
    ("certificates-valid", ("certificates", 0, "not_after"), "2020-01-01T00:00:00+00:00", "has expired"),
]


@pytest.mark.parametrize("probe", PROBES)
def test_a_whole_estate_is_as_declared(probe: str) -> None:
    assert PROBES[probe](WHOLE, ()) == []


@pytest.mark.parametrize(("probe", "where", "value", "said"), PLANTED, ids=lambda v: str(v)[:30])
def test_what_does_not_hold_is_named(probe: str, where: tuple[Any, ...], value: Any, said: str) -> None:
    broken = copy.deepcopy(WHOLE)
    part = broken
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    assert said in "; ".join(PROBES[probe](broken, ()))


def test_every_probe_is_seen_to_fail_once() -> None:
    assert {probe for probe, *_ in PLANTED} | {"nothing-wrong"} == set(PROBES)
    assert PROBES["nothing-wrong"](WHOLE, ("a disk is full",)) == ["a disk is full"]
