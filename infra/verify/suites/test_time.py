"""Time: one clock for the estate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("time")

MAX_OFFSET_S = 1.0
"""Hosts of one estate may differ by this much before audit trails contradict each other."""


def test_server_answers_its_own_clients_only(on: Machine) -> None:
    assert on.listening(123, "udp"), "nobody serves time"
    configured = on.shell.file("/etc/chrony/conf.d/yiyun.conf").content_string
    assert "allow" in configured
    assert not [line for line in configured.splitlines() if line.strip() in {"allow", "allow all"}]


def test_clocks_of_all_hosts_agree(on: Machine, everyone: dict[str, Machine]) -> None:
    here = time.time()
    ages = {name: m.facts["now"] - on.facts["now"] for name, m in everyone.items()}
    # Facts of all hosts were gathered within one session, so they may be apart by that and no more.
    session = max(here - m.facts["now"] for m in everyone.values())
    assert all(abs(age) <= session + MAX_OFFSET_S for age in ages.values()), ages


def test_cloud_hosts_and_the_edge_follow_it(on: Machine, everyone: dict[str, Machine]) -> None:
    followers = [m for m in everyone.values() if m.declared.subnet or "edge" in m.declared.roles]
    lost: list[str] = []
    for machine in followers:
        tracking = machine.facts["commands"]["chrony"]
        synchronised = tracking["code"] == 0 and not tracking["out"].strip().endswith("Not synchronised")
        if machine.name != on.name and not synchronised:
            lost.append(f"{machine.name}: {tracking['out'].strip() or tracking['err'].strip()}")
    assert not lost, lost
