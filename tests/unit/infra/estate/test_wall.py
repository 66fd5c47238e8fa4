"""The second wall follows from the same flows as the security groups, as each host sees them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from infra.estate.flows import flows
from infra.estate.loading import load_estate
from infra.estate.rules import rules_of
from infra.estate.wall import wall_of

LAB = load_estate("lab")


@pytest.mark.parametrize("name", [h.name for h in LAB.hosts])
def test_by_its_card_a_host_opens_what_its_security_group_lets_in(name: str) -> None:
    host = LAB.host(name)
    grouped = {(r.protocol, r.port, r.peer) for r in rules_of(LAB, host, flows(LAB)) if r.direction == "in"}
    opened = {
        (o.protocol, o.port, peer) for o in wall_of(LAB, host).openings if not o.tunnel for peer in o.peers
    }
    assert opened == grouped


def test_a_gateway_opens_to_the_tunnel_what_the_line_brings_to_itself() -> None:
    by_tunnel = {(o.port, o.peers) for o in wall_of(LAB, LAB.host("ops-1")).openings if o.tunnel}
    assert by_tunnel == {(port, ("10.99.0.2/32",)) for port in (123, 8443, 10051)}
    assert {o.port for o in wall_of(LAB, LAB.host("app-2")).openings if o.tunnel} == {8444}
    assert not [o for o in wall_of(LAB, LAB.host("edge-1")).openings if o.tunnel]
    assert wall_of(LAB, LAB.host("db-1")).tunnel_peer == ""


def test_what_is_admitted_is_what_an_opening_names() -> None:
    wall = wall_of(LAB, LAB.host("db-1"))
    app, other = IPv4Address("10.20.1.10"), IPv4Address("10.20.2.13")
    assert wall.admits(app, "tcp", 3306)
    assert not wall.admits(app, "udp", 3306)
    assert not wall.admits(app, "tcp", 22)
    assert not wall.admits(other, "tcp", 3306)


def test_every_host_can_be_administered() -> None:
    for host in LAB.hosts:
        assert any(o.port == 22 and o.peers for o in wall_of(LAB, host).openings), host.name
