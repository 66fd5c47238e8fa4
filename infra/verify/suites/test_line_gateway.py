"""Line, cloud end: the tunnel is up, only the peer comes in, and only declared flows go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.estate.addresses import host_addresses, line_addresses
from infra.estate.flows import flows

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("line-gateway")

HANDSHAKE_MAX_AGE_S = 180
"""WireGuard renews a handshake every 120 s while there is traffic (REKEY_AFTER_TIME, section 6.1 of its
paper)."""


def test_peer_shook_hands_lately(on: Machine) -> None:
    lines = on.facts["commands"]["wg-handshakes"]["out"].split("\n")
    times = [int(line.split()[-1]) for line in lines if line.strip()]
    assert len(times) == 1, f"{len(times)} peers, expected one"
    assert on.facts["now"] - times[0] < HANDSHAKE_MAX_AGE_S, "no handshake for three minutes"


def test_tunnel_key_is_readable_by_root_only(on: Machine) -> None:
    found = on.facts["files"]["/etc/wireguard/wg0.conf"]
    assert found, "no /etc/wireguard/wg0.conf"
    assert (found["owner"], found["mode"] & 0o077) == ("root", 0)


def test_every_declared_flow_is_let_through(on: Machine) -> None:
    rules = on.facts["commands"]["ruleset"]["out"]
    addresses = host_addresses(on.estate)
    wanted = {(str(addresses[f.destination]), f.port.number) for f in flows(on.estate) if f.path == "line"}
    missing = [f"{a}:{p}" for a, p in wanted if a not in rules or str(p) not in rules]
    assert not missing, f"no rule for {missing}"


def test_what_comes_over_the_line_carries_the_line_address(on: Machine) -> None:
    assert str(line_addresses(on.estate)[on.name]) in on.facts["commands"]["ruleset"]["out"]
