"""Records → topology and rulesets, without a machine."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra import resources as kinds
from infra.drivers.lab.machines import host_machine
from infra.drivers.lab.names import MAX_INTERFACE_NAME, port_name
from infra.drivers.lab.rulesets import groups_at, own_addresses, ruleset, shapings
from infra.drivers.lab.topology import Route, plan_topology, public_addresses
from infra.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from infra.drivers.lab.desired import Desired


def _chain(text: str, name: str) -> str:
    return text.partition(f"  chain {name} {{")[2].partition("  }")[0]


def test_every_host_hangs_on_a_wire_of_its_own_to_its_networks_router(desired: Desired) -> None:
    wires = {wire.end[0]: wire.router[0] for wire in plan_topology(desired).wires}
    assert all(wires[h.name] == h.network for h in desired.hosts)
    assert wires["lb-web"] == "vpc"
    assert wires["s3-cn-north-1"] == "vpc"
    assert wires["s3-cn-east-2"] == "inet", "the other region's store outlives this region's network"


def test_the_router_routes_every_address_of_a_host_and_the_host_has_one_way_out(desired: Desired) -> None:
    topology = plan_topology(desired)
    routes = {(r.destination, r.device) for r in topology.namespace("vpc").routes}
    assert {("10.20.1.11/32", "to-app-2"), ("10.20.1.201/32", "to-app-2")} <= routes
    host = topology.namespace("app-2")
    assert host.interfaces[0].addresses == ("10.20.1.11/24", "10.20.1.201/32")
    assert host.routes == (Route("0.0.0.0/0", "eth0", "169.254.1.1"),)
    assert not host.forwards


def test_the_internet_knows_public_addresses_only(desired: Desired) -> None:
    destinations = {r.destination for r in plan_topology(desired).namespace("inet").routes}
    assert {"203.0.113.10/32", "203.0.113.12/32", "198.51.100.10/32"} <= destinations
    assert not [d for d in destinations if d.startswith(("10.", "192.168."))]


def test_nothing_recorded_means_nothing_planned(desired: Desired) -> None:
    empty = replace(desired, vpcs=(), sites=(), hosts=(), stores=(), buckets=())
    assert plan_topology(empty).namespaces == ()


def test_two_things_of_one_name_are_refused(desired: Desired) -> None:
    clash = replace(desired, sites=(desired.sites[0].model_copy(update={"name": "app-1"}),))
    with pytest.raises(BadInputError, match="would be called app-1"):
        plan_topology(clash)


def test_interface_names_fit_the_kernel_and_stay_apart() -> None:
    names = [
        "app-1",
        "s3-cn-north-1",
        "s3-cn-north-2",
        "a-host-with-a-name-of-31-letters",
        "a-host-with-a-name-of-32",
    ]
    ports = [port_name(n) for n in names]
    assert max(map(len, ports)) <= MAX_INTERFACE_NAME
    assert len(set(ports)) == len(names)


def test_each_rule_of_a_group_stands_in_its_chain_with_counter_and_comment(desired: Desired) -> None:
    text = ruleset(desired, "vpc")
    for group in (g for g in desired.groups if g.network == "vpc"):
        for rule in group.rules:
            side = "saddr" if rule.direction == "in" else "daddr"
            peer = "" if rule.peer == "0.0.0.0/0" else f"ip {side} {rule.peer} "
            comment = f"sg:{group.name}:{rule.direction}:{rule.protocol}:{rule.port}:{rule.peer}"
            line = f'{peer}{rule.protocol} dport {rule.port} counter return comment "{comment}"'
            assert line in _chain(text, f"sg-{group.name}-{rule.direction}")


def test_every_groups_chain_ends_in_a_counted_drop(desired: Desired) -> None:
    for router in ("inet", "vpc", "hospital"):
        text = ruleset(desired, router)
        for group in groups_at(desired, router):
            for direction in ("in", "out"):
                lines = _chain(text, f"sg-{group.name}-{direction}").strip().splitlines()
                assert lines[-1].strip() == f'counter drop comment "sg:{group.name}:{direction}:drop"'


def test_every_address_of_an_attachment_meets_its_group_both_ways(desired: Desired) -> None:
    text = ruleset(desired, "vpc")
    for address, name in (("10.20.1.11", "app-2"), ("10.20.1.201", "app-2"), ("10.20.0.5", "lb-web")):
        assert f"{address} : jump sg-{name}-out" in text
        assert f"{address} : jump sg-{name}-in" in text


def test_the_default_is_drop(desired: Desired) -> None:
    text = ruleset(desired, "vpc")
    assert "hook forward priority filter; policy drop;" in _chain(text, "forward")
    assert "policy drop" in _chain(text, "input")


def test_a_host_without_a_group_record_is_permitted_nothing(desired: Desired) -> None:
    text = ruleset(replace(desired, groups=()), "vpc")
    assert _chain(text, "sg-db-1-in").strip() == 'counter drop comment "sg:db-1:in:drop"'


def test_only_own_addresses_may_be_sent_from_a_port(desired: Desired) -> None:
    own = own_addresses(desired, "vpc")
    assert [a for port, a in own if port == "to-app-2"] == ["10.20.1.11", "10.20.1.201"]
    assert len({a for _, a in own}) == len(own), "no address belongs to two ports"
    assert ("to-hospital", "198.51.100.10") in own_addresses(desired, "inet")


def test_a_balancer_may_be_called_by_everybody_and_calls_its_backends_only(desired: Desired) -> None:
    group = next(g for g in groups_at(desired, "vpc") if g.name == "lb-web")
    assert {(p.direction, p.port, p.peer) for p in group.permissions} == {
        ("in", 443, "0.0.0.0/0"),
        ("out", 443, "10.20.1.10/32"),
        ("out", 443, "10.20.1.11/32"),
    }


def test_object_stores_are_called_by_those_that_are_declared_only(desired: Desired) -> None:
    assert {s.name: s.address for s in desired.stores} == {
        "s3-cn-north-1": "100.64.1.10",
        "s3-cn-east-2": "100.64.2.10",
    }
    near = next(g for g in groups_at(desired, "vpc") if g.name == "s3-cn-north-1")
    databases = {"10.20.2.10/32", "10.20.2.11/32", "10.20.2.12/32"}
    assert {p.peer for p in near.permissions} >= {
        "10.20.0.10/32",
        "10.20.1.10/32",
        "10.20.1.11/32",
        *databases,
    }
    assert "10.20.0.200/32" not in {p.peer for p in near.permissions}
    far = next(g for g in groups_at(desired, "inet") if g.name == "s3-cn-east-2")
    assert {(p.direction, p.port) for p in far.permissions} == {("in", 443)}
    # The VPC, one that takes its place, and the operators.
    callers = {"100.64.1.1/32", "100.64.2.1/32", "198.51.100.100/32"}
    assert {p.peer for p in far.permissions} == callers
    text = ruleset(desired, "vpc")
    assert "100.64.2.10" in _chain(text, "sg-ops-1-out")
    assert "100.64.2.10" in _chain(text, "sg-db-1-out")


def test_what_came_over_the_line_does_not_leave_the_region(desired: Desired) -> None:
    (rule,) = [line for line in ruleset(desired, "vpc").splitlines() if "fabric:not-a-host" in line]
    assert "ip daddr { 100.64.2.10 }" in rule
    assert "10.20.0.10" in rule
    assert "10.20.0.200" not in rule


def test_elastic_ips_are_translated_one_to_one_both_ways(desired: Desired) -> None:
    assert public_addresses(desired, "vpc") == {
        "203.0.113.10": "10.20.0.5",
        "203.0.113.11": "10.20.1.11",
        "203.0.113.12": "10.20.0.10",
    }
    text = ruleset(desired, "vpc")
    assert "203.0.113.12 : 10.20.0.10" in text
    assert "10.20.0.10 : 203.0.113.12" in text


def test_a_package_shapes_both_directions_of_its_public_addresses(desired: Desired) -> None:
    outward, inward = shapings(desired, "vpc"), shapings(desired, "inet")
    assert [(s.device, s.side, s.mbps) for s in outward] == [("inet", "saddr", 100)]
    assert [(s.device, s.side, s.mbps) for s in inward] == [("to-vpc", "daddr", 100)]
    assert outward[0].addresses == ("203.0.113.10", "203.0.113.11", "203.0.113.12")
    assert shapings(desired, "hospital") == ()


def test_a_ruleset_names_its_own_content(desired: Desired) -> None:
    def digest(text: str) -> str:
        return re.findall(r'comment "([0-9a-f]{32})"', text)[0]

    one = ruleset(desired, "vpc")
    assert one == ruleset(desired, "vpc")
    other = replace(desired, groups=desired.groups[1:])
    assert digest(ruleset(other, "vpc")) != digest(one)
    assert one.startswith("table inet yiyun\ndelete table inet yiyun\n"), "replaced in one transaction"


def test_a_host_gets_only_the_devices_and_powers_it_asks_for(desired: Desired, tmp_path: Path) -> None:
    hosts = {h.name: host_machine(h, tmp_path) for h in desired.hosts}
    assert hosts["db-1"].devices == ()
    assert "SYS_ADMIN" not in hosts["ops-1"].capabilities
    assert "SYS_ADMIN" in hosts["app-1"].capabilities
    assert set(hosts["app-2"].devices) == {"/dev/net/tun", "/dev/fuse"}
    assert hosts["db-1"].binds == ((str(tmp_path / "db-1-data"), "/data", "rw"),)


def test_what_takes_a_new_container_changes_its_digest_and_a_key_does_not(
    desired: Desired, tmp_path: Path
) -> None:
    host = desired.hosts[0]

    def digest(**changes: object) -> str:
        return host_machine(host.model_copy(update=changes), tmp_path).digest

    assert digest() == digest(authorized_key="another")
    assert digest() != digest(memory_mib=host.memory_mib + 1)


def test_security_groups_of_a_site_are_the_sites_routers_business(desired: Desired) -> None:
    assert "chain sg-edge-1-in" in ruleset(desired, "hospital")
    assert "chain sg-edge-1-in" not in ruleset(desired, "vpc")
    assert 'oifname "inet" snat ip to 198.51.100.10' in ruleset(desired, "hospital")
    assert isinstance(desired.sites[0], kinds.Site)
