"""Flows → security-group rules. Pure; least privilege in both directions."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Literal

from infra import resources as kinds
from infra.estate.addresses import (
    elastic_addresses,
    elastic_name_of_host,
    elsewhere_addresses,
    host_addresses,
)
from infra.estate.endpoints import EVERYWHERE, endpoint_named
from infra.estate.flows import same_network, sources_of
from infra.services.model import SITES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.estate.endpoints import Endpoint
    from infra.estate.flows import Flow
    from infra.estate.model import Estate, Host


def rules_of(estate: Estate, host: Host, permitted: Iterable[Flow]) -> list[kinds.Rule]:
    """Rules of one host's security group: what may come in, what it may call. Sorted, without repetitions."""
    permitted = tuple(permitted)
    found = {(r.direction, r.protocol, r.port, r.peer): r for r in _incoming(estate, host.name, permitted)}
    for rule in _outgoing(estate, host, permitted):
        found.setdefault((rule.direction, rule.protocol, rule.port, rule.peer), rule)
    return [found[key] for key in sorted(found)]


def rules_of_endpoint(estate: Estate, endpoint: Endpoint, permitted: Iterable[Flow]) -> list[kinds.Rule]:
    """Who may call a managed service's endpoint. Sorted, without repetitions."""
    incoming = _incoming(estate, endpoint.name, permitted)
    found = {(r.direction, r.protocol, r.port, r.peer): r for r in incoming}
    return [found[key] for key in sorted(found)]


def _incoming(estate: Estate, destination: str, permitted: Iterable[Flow]) -> Iterator[kinds.Rule]:
    for flow in permitted:
        if flow.destination == destination:
            for peer in sources_of(estate, flow):
                yield _rule("in", flow, peer)


def _outgoing(estate: Estate, host: Host, permitted: Iterable[Flow]) -> Iterator[kinds.Rule]:
    addresses = host_addresses(estate)
    gateways = estate.line.gateways if estate.line else ()
    for flow in permitted:
        endpoint = endpoint_named(estate, flow.destination)
        if endpoint is not None:
            if flow.source == host.name:
                yield _rule("out", flow, endpoint.network)
            continue
        destination = IPv4Network(f"{addresses[flow.destination]}/32")
        if flow.source == host.name and same_network(host, estate.host(flow.destination)):
            yield _rule("out", flow, destination)
        if flow.path == "line" and host.name in gateways and host.name != flow.destination:
            yield _rule("out", flow, destination)
        if flow.source == SITES and estate.line and host.name == estate.line.peer:
            name = elastic_name_of_host(flow.destination)
            here, elsewhere = elastic_addresses(estate).get(name), elsewhere_addresses(estate).get(name)
            for public in (here, elsewhere) if here else ():
                yield _rule("out", flow, IPv4Network(f"{public}/32"))
            if here is None:
                yield _rule("out", flow, EVERYWHERE)


def _rule(direction: Literal["in", "out"], flow: Flow, peer: IPv4Network) -> kinds.Rule:
    return kinds.Rule(
        direction=direction,
        protocol=flow.port.protocol,
        port=flow.port.number,
        peer=str(peer),
        why=f"{flow.source} → {flow.destination}: {flow.because}",
    )
