"""Who can reach what: the estate's expected answer for every pair of hosts and every probed port. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from infra.estate.addresses import host_addresses, line_addresses
from infra.estate.endpoints import endpoints
from infra.estate.flows import flows, same_network
from infra.services.catalogue import services_of
from infra.services.model import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.estate.flows import Flow
    from infra.estate.model import Estate, Host

WELL_KNOWN = (21, 23, 80, 111, 445, 5432, 6379, 8080)
"""Ports that nothing declares and that intruders try first: ftp, telnet, http, portmapper, smb, databases."""
HIGH_PORTS = range(1024, 32768)
"""Random ports are drawn from here: below Linux's ephemeral range (32768–60999), so that the answers to a
probe, which go to its ephemeral port, are never mistaken for a probe of that port."""
HIGH_PORT_COUNT = 6

Route = Literal["fabric", "line", "gateway", "apart", "managed"]
"""How a probe travels.

fabric: both hosts stand in one network, whose router decides.
line: from the line's peer, end to end through the tunnel that carries the line at the moment.
gateway: the last leg of the line, sent by a gateway from its line address, so that the fabric is asked
    even for what the gateway's own policy never lets out of the tunnel, and for the standby path too.
managed: from the VPC to an endpoint of the provider, where no agent listens: what the fabric lets through is
    answered by the endpoint or refused, and both are seen.
apart: two networks without a declared path between these hosts: the source's router must drop.
"""

PATHS = {"fabric": "fabric", "line": "line", "gateway": "line", "managed": "managed"}
"""Route → path of the flows that permit it."""


@dataclass(frozen=True)
class Check:
    """One probe and what the estate expects of it."""

    source: str
    """A host's name; for the route `gateway` the line's peer, on whose behalf the gateway sends."""
    destination: str
    port: int
    protocol: Protocol
    route: Route
    via: str = ""
    """The gateway that sends, for the route `gateway`."""
    flow: Flow | None = None
    """The declaration that permits it; None means denied."""

    @property
    def permitted(self) -> bool:
        """True when a declaration permits it."""
        return self.flow is not None

    @property
    def sender(self) -> str:
        """The host that the probe is sent from."""
        return self.via or self.source


@dataclass(frozen=True)
class Matrix:
    """All checks of an estate, with the ports they cover."""

    checks: tuple[Check, ...]
    ports: tuple[int, ...]
    """Each is tried by TCP and by UDP."""
    seed: int

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Ordered pairs (source, destination)."""
        return frozenset((c.source, c.destination) for c in self.checks)


def expected_matrix(estate: Estate, seed: int = 0) -> Matrix:
    """Every ordered pair of hosts × every declared port and a sample of others × TCP and UDP.

    The random part of the sample depends on the estate's name and `seed` alone, so a result can be repeated.
    """
    ports = (*declared_ports(estate), *sampled_ports(estate, seed))
    permitted = {(f.path, f.source, f.destination, f.port.number, f.port.protocol): f for f in flows(estate)}
    found = (
        Check(
            source,
            to,
            port,
            protocol,
            route,
            via,
            permitted.get((PATHS[route], source, to, port, protocol)) if route in PATHS else None,
        )
        for source, to, route, via in _legs(estate)
        for port in ports
        for protocol in get_args(Protocol)
    )
    unguarded = frozenset(h.name for h in estate.hosts if h.exists)
    let_out = _let_out(estate, permitted.values())
    return Matrix(tuple(c for c in found if c.permitted or _guarded(c, unguarded, let_out)), ports, seed)


Leg = tuple[str, str, int, Protocol]
"""(sender, destination, port, protocol)"""


def _guarded(check: Check, unguarded: frozenset[str], let_out: frozenset[Leg]) -> bool:
    """Whether a security group of ours stands between the two: machines that exist already have none.

    What goes to such a machine is decided by the sender's group alone, and that one does not ask for whom a
    gateway sends.
    """
    if check.destination not in unguarded:
        return True
    leg = check.sender, check.destination, check.port, check.protocol
    return check.sender not in unguarded and leg not in let_out


def _let_out(estate: Estate, permitted: Iterable[Flow]) -> frozenset[Leg]:
    """What the senders' own groups let out, for whichever of a sender's addresses."""
    gateways = tuple(line_addresses(estate))
    return frozenset(
        (sender, f.destination, f.port.number, f.port.protocol)
        for f in permitted
        for sender in ((f.source,) if f.path != "line" else gateways)
    )


def declared_ports(estate: Estate) -> tuple[int, ...]:
    """Every port number that a service of the estate listens at, sorted."""
    of_hosts = {p.number for host in estate.hosts for s in services_of(host) for p in s.listens}
    return tuple(sorted(of_hosts | {p.number for e in endpoints(estate) for p in e.service.listens}))


def sampled_ports(estate: Estate, seed: int) -> tuple[int, ...]:
    """Well-known and random ports that no service declares."""
    declared = set(declared_ports(estate))
    chosen = random.Random(f"{estate.estate}:{seed}")  # noqa: S311  a repeatable sample, not a secret
    high = chosen.sample([p for p in HIGH_PORTS if p not in declared | set(WELL_KNOWN)], HIGH_PORT_COUNT)
    return (*(p for p in WELL_KNOWN if p not in declared), *sorted(high))


def _legs(estate: Estate) -> Iterator[tuple[str, str, Route, str]]:
    known = [e.name for e in endpoints(estate) if e.address is not None]
    for source in estate.hosts:
        for to in estate.hosts:
            if source.name != to.name:
                yield source.name, to.name, route_between(estate, source, to), ""
        for endpoint in known:
            yield source.name, endpoint, route_to_endpoint(source), ""
    if estate.line is None:
        return
    for gateway in line_addresses(estate):
        for to in [*(h.name for h in estate.cloud_hosts), *known]:
            if to != gateway:
                yield estate.line.peer, to, "gateway", gateway


def route_to_endpoint(source: Host) -> Route:
    """How packets of a host reach an endpoint of the provider: from the VPC only."""
    return "managed" if source.subnet is not None else "apart"


def route_between(estate: Estate, source: Host, to: Host) -> Route:
    """How packets of one host reach another, by the estate's declaration."""
    if same_network(source, to):
        return "fabric"
    if estate.line is not None and source.name == estate.line.peer and to.subnet is not None:
        return "line"
    return "apart"


def source_address(estate: Estate, check: Check) -> str:
    """Private address that the probe is sent from."""
    if check.via:
        return str(line_addresses(estate)[check.via])
    return str(host_addresses(estate)[check.source])
