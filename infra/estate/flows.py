"""Who may talk to whom: flows derived from the services' declarations. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Literal

from infra.estate.addresses import balancer_address, host_addresses, line_addresses
from infra.estate.endpoints import backbone_addresses, endpoint_named, endpoints
from infra.services.catalogue import services_of
from infra.services.model import EVERY_HOST, INTERNET, LOAD_BALANCER, OPERATORS, SITES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.estate.model import Estate, Host
    from infra.services.model import Caller, Port, Service

Path = Literal["fabric", "line", "outside", "managed"]
"""managed: from the VPC to an endpoint of the provider."""


@dataclass(frozen=True)
class Flow:
    """One permission: source → destination port, and the declaration it comes from."""

    source: str
    """A host's name, or `internet`, `operators`, `sites`, `load-balancer:NAME`."""
    destination: str
    """A host's name, or an endpoint's."""
    service: str
    port: Port
    caller: str
    path: Path

    @property
    def because(self) -> str:
        """The declaration in words."""
        port = self.port
        return f"{self.service}.{port.name} ({port}) may be called by {self.caller}: {port.purpose}"


def flows(estate: Estate) -> tuple[Flow, ...]:
    """Every permitted flow of the estate, in a stable order without repetitions."""
    found = {
        flow: None
        for destination in estate.hosts
        for service in services_of(destination)
        for port in service.listens
        for caller in port.callers
        for flow in _flows_to(estate, destination, service, port, caller)
    }
    found |= dict.fromkeys(_managed(estate))
    return tuple(found)


def _managed(estate: Estate) -> Iterator[Flow]:
    for to in endpoints(estate):
        for port in to.service.listens:
            for caller in port.callers:
                if to.region != estate.region.name and not caller.across_regions:
                    continue
                if caller.service == OPERATORS:
                    if to.region != estate.region.name:
                        yield Flow(OPERATORS, to.name, to.service.name, port, caller.service, "outside")
                    continue
                for source in estate.cloud_hosts:
                    if _runs(source, caller.service):
                        yield Flow(source.name, to.name, to.service.name, port, caller.service, "managed")


def _flows_to(estate: Estate, to: Host, service: Service, port: Port, caller: Caller) -> Iterator[Flow]:
    def flow(source: str, path: Path) -> Flow:
        return Flow(source, to.name, service.name, port, caller.service, path)

    if caller.service in {INTERNET, OPERATORS, SITES}:
        yield flow(caller.service, "outside")
        return
    if caller.service == LOAD_BALANCER:
        for balancer in estate.load_balancers:
            if (balancer.service, balancer.service_port) == (service.name, port.name):
                yield flow(f"{LOAD_BALANCER}:{balancer.name}", "fabric")
        return
    for source in estate.hosts:
        if source.name == to.name or not _runs(source, caller.service):
            continue
        if same_network(source, to) and not caller.over_line:
            yield flow(source.name, "fabric")
        elif caller.over_line and source.site is not None and to.subnet is not None and estate.line:
            yield flow(source.name, "line")


def _runs(host: Host, service: str) -> bool:
    return service == EVERY_HOST or any(s.name == service for s in services_of(host))


def same_network(one: Host, other: Host) -> bool:
    """True when both are in the VPC, or both at the same site."""
    return (one.subnet is not None and other.subnet is not None) or (
        one.site is not None and one.site == other.site
    )


def sources_of(estate: Estate, flow: Flow) -> tuple[IPv4Network, ...]:
    """Addresses as the destination's security group sees them, as networks."""
    to = endpoint_named(estate, flow.destination)
    if to is not None and flow.source == OPERATORS:
        return estate.internet.operators
    if to is not None and to.region != estate.region.name:
        return tuple(_single(address) for address in backbone_addresses())
    if flow.path == "line":
        return tuple(
            _single(a) for gateway, a in line_addresses(estate).items() if gateway != flow.destination
        )
    if flow.source == INTERNET:
        return (IPv4Network("0.0.0.0/0"),)
    if flow.source == OPERATORS:
        return _operators(estate, estate.host(flow.destination))
    if flow.source == SITES:
        known = [_single(s.internet_address) for s in estate.sites if s.internet_address]
        return tuple(known) if len(known) == len(estate.sites) else (IPv4Network("0.0.0.0/0"),)
    if flow.source.startswith(f"{LOAD_BALANCER}:"):
        name = flow.source.partition(":")[2]
        return tuple(_single(balancer_address(estate, b)) for b in estate.load_balancers if b.name == name)
    return (_single(host_addresses(estate)[flow.source]),)


def _operators(estate: Estate, to: Host) -> tuple[IPv4Network, ...]:
    if to.site is None:
        return estate.internet.operators
    site = next(s for s in estate.sites if s.name == to.site)
    return (_single(site.operator_address),) if site.operator_address else ()


def _single(address: object) -> IPv4Network:
    return IPv4Network(f"{address}/32")
