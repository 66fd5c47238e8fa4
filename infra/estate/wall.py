"""Flows → each host's own firewall, the second wall behind its security group. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from infra.estate.addresses import tunnel_addresses
from infra.estate.flows import flows, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from infra.estate.flows import Flow
    from infra.estate.model import Estate, Host


@dataclass(frozen=True, order=True)
class Opening:
    """Who may begin a connection to one port of a host."""

    protocol: str
    port: int
    peers: tuple[str, ...]
    """Networks, sorted."""
    tunnel: bool
    """True: only by the line's tunnel; False: never by it."""
    why: str


@dataclass(frozen=True)
class Wall:
    """One host's rules for what comes in and what passes through."""

    openings: tuple[Opening, ...]
    tunnel_peer: str = ""
    """The other end of the gateway's tunnel, whose pings are answered; empty on other hosts."""

    def admits(self, source: IPv4Address, protocol: str, port: int) -> bool:
        """Whether a connection from that address may come in by the host's card."""
        return any(
            not o.tunnel
            and (o.protocol, o.port) == (protocol, port)
            and any(source in IPv4Network(peer) for peer in o.peers)
            for o in self.openings
        )

    def as_variables(self) -> dict[str, Any]:
        """What the inventory carries."""
        return asdict(self)


def wall_of(estate: Estate, host: Host) -> Wall:
    """The openings of one host: the same flows as its security group, as the host itself sees them.

    A gateway sees what comes over the line to itself from the tunnel's far end, before any translation.
    """
    permitted = [f for f in flows(estate) if f.destination == host.name]
    ends = tunnel_addresses(estate)
    peer = str(ends[host.name][1]) if host.name in ends else ""
    found = {*_by_card(estate, permitted), *_by_tunnel(permitted, peer)}
    return Wall(tuple(sorted(found)), peer)


def _by_card(estate: Estate, permitted: Iterable[Flow]) -> Iterator[Opening]:
    peers: dict[tuple[str, int], set[str]] = {}
    because: dict[tuple[str, int], set[str]] = {}
    for flow in permitted:
        key = flow.port.protocol, flow.port.number
        peers.setdefault(key, set()).update(str(n) for n in sources_of(estate, flow))
        because.setdefault(key, set()).add(f"{flow.service}.{flow.port.name}")
    for (protocol, port), networks in peers.items():
        if networks:
            why = ", ".join(sorted(because[protocol, port]))
            yield Opening(protocol, port, tuple(sorted(networks)), tunnel=False, why=why)


def _by_tunnel(permitted: Iterable[Flow], peer: str) -> Iterator[Opening]:
    for flow in permitted:
        if flow.path == "line" and peer:
            why = f"{flow.service}.{flow.port.name} over the line"
            yield Opening(flow.port.protocol, flow.port.number, (f"{peer}/32",), tunnel=True, why=why)
