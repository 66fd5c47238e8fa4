"""Records → namespaces, wires, addresses and routes of a lab. Pure.

A routed fabric, as clouds do it: every host hangs on a wire of its own to its network's router, which
answers ARP for everything (proxy ARP) and holds a route per address. So all traffic between hosts crosses
the router's forward hook, where the guests cannot reach.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from infra.drivers.lab.names import (
    GATEWAY,
    HOST_INTERFACE,
    INTERNET,
    INTERNET_GATEWAY,
    ROUTER_UPLINK,
    UPLINK,
    balancer_thing,
    port_name,
)
from infra.errors import BadInputError
from infra.estate.addresses import BACKBONE_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra import resources as kinds
    from infra.drivers.lab.desired import Desired

DEFAULT = "0.0.0.0/0"


@dataclass(frozen=True)
class Route:
    """One IPv4 route of a namespace, by its device; `via` is reached on the link."""

    destination: str
    device: str
    via: str = ""
    source: str = ""


@dataclass(frozen=True)
class Interface:
    """One end of a wire. Addresses carry their prefix length."""

    name: str
    addresses: tuple[str, ...] = ()
    answers_for_all: bool = False
    """Proxy ARP: a router's port to a host or appliance."""


@dataclass(frozen=True)
class Namespace:
    """A network namespace as it should be."""

    thing: str
    interfaces: tuple[Interface, ...]
    loopback: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    forwards: bool = False


@dataclass(frozen=True)
class Wire:
    """A veth pair: (thing, interface) at both ends."""

    router: tuple[str, str]
    end: tuple[str, str]


@dataclass(frozen=True)
class Attachment:
    """A host or appliance on a router's port."""

    thing: str
    addresses: tuple[str, ...]
    """Own addresses, the main one first; nothing else may be sent from the port."""
    prefix_length: int = 32

    @property
    def port(self) -> str:
        """The router's interface that leads here."""
        return port_name(self.thing)


@dataclass(frozen=True)
class Topology:
    """All namespaces of a lab and the wires between them."""

    namespaces: tuple[Namespace, ...]
    wires: tuple[Wire, ...]

    def namespace(self, thing: str) -> Namespace:
        """The namespace of a thing. Raises KeyError when there is none."""
        for namespace in self.namespaces:
            if namespace.thing == thing:
                return namespace
        raise KeyError(thing)


def plan_topology(desired: Desired) -> Topology:
    """The whole network of a lab. Raises BadInputError when two things would share a name."""
    if desired.empty:
        return Topology((), ())
    routers = [v.name for v in desired.vpcs] + [s.name for s in desired.sites]
    attached = {router: attachments(desired, router) for router in [INTERNET, *routers]}
    namespaces = [
        *([] if desired.settings.home else [_internet(desired, attached[INTERNET])]),
        *(_router(desired, router, attached[router]) for router in routers),
        *(_end(a) for group in attached.values() for a in group),
    ]
    _refuse_repetition([n.thing for n in namespaces])
    alone = not desired.settings.home
    wires = [Wire((INTERNET, port_name(router)), (router, UPLINK)) for router in routers if alone]
    wires += [
        Wire((router, a.port), (a.thing, HOST_INTERFACE)) for router, group in attached.items() for a in group
    ]
    return Topology(tuple(namespaces), tuple(wires))


def attachments(desired: Desired, router: str) -> tuple[Attachment, ...]:
    """Hosts, balancers and object stores on a router's ports (`inet`: object stores of other regions)."""
    subnets = {(s.vpc, s.name): ip_network(s.cidr).prefixlen for s in desired.subnets}
    site_lengths = {s.name: ip_network(s.cidr).prefixlen for s in desired.sites}
    found = [
        Attachment(
            h.name,
            (h.address, *h.extra_addresses),
            subnets.get((h.network, h.subnet), site_lengths.get(h.network, 32)),
        )
        for h in desired.hosts_in(router)
    ]
    found += [
        Attachment(balancer_thing(b.name), (b.address,), subnets.get((b.vpc, b.subnet), 32))
        for b in desired.balancers
        if b.vpc == router
    ]
    found += [Attachment(s.name, (s.address,)) for s in stores_at(desired, router)]
    return tuple(found)


def stores_at(desired: Desired, router: str) -> tuple[kinds.ObjectStore, ...]:
    """Object stores on a router: a VPC has its own region's, the internet those of regions without a VPC."""
    homes = {v.region: v.name for v in desired.vpcs}
    return tuple(s for s in desired.stores if homes.get(s.region, INTERNET) == router)


def far_stores(desired: Desired, router: str) -> tuple[str, ...]:
    """Addresses of the object stores that a VPC reaches over the backbone, sorted."""
    near = stores_at(desired, router)
    return tuple(sorted({s.address for s in desired.stores if s not in near} | set(desired.settings.reached)))


def public_addresses(desired: Desired, router: str) -> dict[str, str]:
    """Public address → private target, of the elastic IPs whose target stands in that VPC."""
    owned = {address for a in attachments(desired, router) for address in a.addresses}
    return {e.address: e.target for e in desired.elastic_ips if e.address and e.target in owned}


def backbone_address(vpc: kinds.Vpc, desired: Desired) -> str:
    """Address under which a VPC calls other regions' object stores."""
    return BACKBONE_ADDRESS.format(desired.vpcs.index(vpc) + desired.settings.number)


def _internet(desired: Desired, attached: tuple[Attachment, ...]) -> Namespace:
    routes = list(_port_routes(attached))
    operator = desired.settings.operator
    for vpc in desired.vpcs:
        reached = [*public_addresses(desired, vpc.name), backbone_address(vpc, desired)]
        routes += [Route(f"{a}/32", port_name(vpc.name), ROUTER_UPLINK, operator) for a in reached]
    routes += [
        Route(f"{s.internet_address}/32", port_name(s.name), ROUTER_UPLINK, operator) for s in desired.sites
    ]
    routes += [Route(f"{a}/32", g.port, ROUTER_UPLINK, operator) for g in desired.guests for a in g.addresses]
    routers = [*(v.name for v in desired.vpcs), *(s.name for s in desired.sites)]
    return Namespace(
        INTERNET,
        (
            *(Interface(port_name(router)) for router in routers),
            *(Interface(guest.port) for guest in desired.guests),
            *(Interface(a.port, answers_for_all=True) for a in attached),
        ),
        (f"{operator}/32", f"{INTERNET_GATEWAY}/32", f"{GATEWAY}/32"),
        tuple(routes),
        forwards=True,
    )


def _router(desired: Desired, name: str, attached: tuple[Attachment, ...]) -> Namespace:
    site = next((s for s in desired.sites if s.name == name), None)
    vpc = next((v for v in desired.vpcs if v.name == name), None)
    public = [site.internet_address] if site else []
    loopback = [site.operator_address] if site and site.operator_address else []
    if vpc is not None:
        public = [backbone_address(vpc, desired)]
    uplink = Interface(UPLINK, tuple(f"{a}/32" for a in (ROUTER_UPLINK, *public)))
    return Namespace(
        name,
        (uplink, *(Interface(a.port, answers_for_all=True) for a in attached)),
        (f"{GATEWAY}/32", *(f"{a}/32" for a in loopback)),
        (Route(DEFAULT, UPLINK, INTERNET_GATEWAY), *_port_routes(attached)),
        forwards=True,
    )


def _end(attachment: Attachment) -> Namespace:
    main, *extra = attachment.addresses
    addresses = (f"{main}/{attachment.prefix_length}", *(f"{a}/32" for a in extra))
    return Namespace(
        attachment.thing,
        (Interface(HOST_INTERFACE, addresses),),
        routes=(Route(DEFAULT, HOST_INTERFACE, GATEWAY),),
    )


def _port_routes(attached: tuple[Attachment, ...]) -> Iterator[Route]:
    for attachment in attached:
        for address in attachment.addresses:
            yield Route(f"{address}/32", attachment.port)


def _refuse_repetition(things: list[str]) -> None:
    repeated = sorted(name for name, times in Counter(things).items() if times > 1)
    if repeated:
        raise BadInputError(
            f"two things of the lab would be called {', '.join(repeated)}",
            hint="rename one: hosts, sites, the VPC and `inet` share one set of names",
        )
