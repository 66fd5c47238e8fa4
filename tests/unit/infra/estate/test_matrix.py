from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from infra.estate.endpoints import endpoints
from infra.estate.flows import flows, sources_of
from infra.estate.loading import load_estate
from infra.estate.matrix import Check, declared_ports, expected_matrix, sampled_ports
from infra.estate.rules import rules_of, rules_of_endpoint

if TYPE_CHECKING:
    from infra.estate.flows import Flow
    from infra.resources import Rule

LAB = load_estate("lab")
MATRIX = expected_matrix(LAB)
STORES = ("object-storage:cn-north-1", "object-storage:cn-east-2")


def check(source: str, to: str, port: int, protocol: str = "tcp", via: str = "") -> Check:
    (found,) = [
        c
        for c in MATRIX.checks
        if (c.source, c.destination, c.port, c.protocol, c.via) == (source, to, port, protocol, via)
    ]
    return found


def test_every_ordered_pair_is_tried_at_every_port_by_both_protocols() -> None:
    names = [h.name for h in LAB.hosts]
    pairs = {(a, b) for a in names for b in [*names, *STORES] if a != b}
    assert pairs == MATRIX.pairs
    plain = Counter((c.source, c.destination) for c in MATRIX.checks if not c.via)
    assert set(plain.values()) == {2 * len(MATRIX.ports)}
    assert len(MATRIX.ports) == len(set(MATRIX.ports)) == len(declared_ports(LAB)) + 8 + 6


def test_last_leg_of_the_line_is_tried_from_every_gateway_to_every_other_cloud_host() -> None:
    legs = {(c.via, c.destination) for c in MATRIX.checks if c.via}
    cloud = [*(h.name for h in LAB.cloud_hosts), *STORES]
    assert legs == {(g, to) for g in ("ops-1", "app-2") for to in cloud if to != g}
    assert {(c.source, c.route, c.sender == c.via) for c in MATRIX.checks if c.via} == {
        ("edge-1", "gateway", True)
    }


@pytest.mark.parametrize(
    ("source", "to", "port", "protocol", "via"),
    [
        ("app-1", "db-1", 3306, "tcp", ""),
        ("db-1", "db-2", 33061, "tcp", ""),
        ("db-3", "ops-1", 123, "udp", ""),
        ("ops-1", "ora-2", 22, "tcp", ""),
        ("his-1", "edge-1", 2575, "tcp", ""),
        ("edge-1", "app-1", 8444, "tcp", ""),
        ("edge-1", "ops-1", 8443, "tcp", ""),
        ("edge-1", "app-1", 8444, "tcp", "ops-1"),
        ("edge-1", "ops-1", 123, "udp", "app-2"),
        ("app-1", "object-storage:cn-north-1", 443, "tcp", ""),
        ("ops-1", "object-storage:cn-north-1", 443, "tcp", ""),
        ("ops-1", "object-storage:cn-east-2", 443, "tcp", ""),
    ],
)
def test_permitted(source: str, to: str, port: int, protocol: str, via: str) -> None:
    found = check(source, to, port, protocol, via)
    assert found.permitted
    assert found.flow is not None
    assert (found.flow.destination, found.flow.port.number, found.flow.port.protocol) == (to, port, protocol)


@pytest.mark.parametrize(
    ("source", "to", "port", "protocol", "via"),
    [
        ("app-1", "db-1", 22, "tcp", ""),
        ("app-1", "db-1", 3306, "udp", ""),
        ("app-1", "db-1", 33061, "tcp", ""),
        ("db-1", "ora-1", 1521, "tcp", ""),
        ("app-1", "app-2", 443, "tcp", ""),
        ("ops-1", "app-1", 8444, "tcp", ""),
        ("edge-1", "db-1", 3306, "tcp", ""),
        ("edge-1", "app-1", 443, "tcp", "app-2"),
        ("edge-1", "his-1", 2575, "tcp", ""),
        ("app-1", "db-1", 6379, "tcp", ""),
        ("app-1", "object-storage:cn-north-1", 22, "tcp", ""),
        ("edge-1", "object-storage:cn-north-1", 443, "tcp", ""),
        ("edge-1", "object-storage:cn-east-2", 443, "tcp", "ops-1"),
        ("his-1", "object-storage:cn-north-1", 443, "tcp", ""),
    ],
)
def test_denied(source: str, to: str, port: int, protocol: str, via: str) -> None:
    assert not check(source, to, port, protocol, via).permitted


def test_database_may_call_nothing_of_an_application_host() -> None:
    assert not [c for c in MATRIX.checks if c.source == "db-1" and c.destination == "app-1" and c.permitted]


def test_hospital_reaches_nothing_in_the_cloud_and_the_cloud_nothing_on_the_premises() -> None:
    cloud = {h.name for h in LAB.cloud_hosts}
    apart = [
        c
        for c in MATRIX.checks
        if (c.source in cloud) != (c.destination in cloud) and c.source != "edge-1" and c.route != "managed"
    ]
    assert {c.route for c in apart} == {"apart"}
    assert not [c for c in apart if c.permitted]


def way(flow: Flow) -> tuple[str, str, str, int, str]:
    return flow.source, flow.destination, flow.service, flow.port.number, flow.port.protocol


def test_everything_permitted_is_declared_and_every_declared_flow_between_hosts_is_tried() -> None:
    """Two services of one host may call the same port: that is one way, tried once."""
    names = {h.name for h in LAB.hosts}
    tried = {way(c.flow) for c in MATRIX.checks if c.flow}
    assert tried == {way(f) for f in flows(LAB) if f.source in names}


@pytest.mark.parametrize("name", ["lab", "yucheng"])
def test_every_rule_is_explained_by_a_flow_and_every_flow_has_its_rules(name: str) -> None:
    estate = load_estate(name)
    permitted = flows(estate)
    rules: dict[str, list[Rule]] = {h.name: rules_of(estate, h, permitted) for h in estate.hosts}
    rules |= {e.name: rules_of_endpoint(estate, e, permitted) for e in endpoints(estate)}
    because = {f.because for f in permitted}
    for rule in (r for own in rules.values() for r in own):
        assert rule.why.partition(": ")[2] in because
    for flow in [f for f in permitted if sources_of(estate, f)]:
        ports = {(r.direction, r.protocol, r.port) for r in rules[flow.destination]}
        assert ("in", flow.port.protocol, flow.port.number) in ports, flow


def test_samples_are_repeatable_undeclared_and_out_of_the_ephemeral_range() -> None:
    first, again, other = sampled_ports(LAB, 7), sampled_ports(LAB, 7), sampled_ports(LAB, 8)
    assert first == again != other
    assert not set(first) & set(declared_ports(LAB))
    assert max(first) < 32768
