"""Faults of the network: packets dropped in the lab's routers, where no host can see or mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import run_in_host
from infra.estate.addresses import host_addresses
from infra.estate.plan import network_of
from infra.services.platform import LINE_GATEWAY
from runbooks.drills.faults.tables import (
    absent,
    cut,
    drop_rules,
    met,
    order_in,
    port_matches,
    present,
    remove,
)
from runbooks.drills.faults.targets import link_directions, member_directions, port_numbers, tunnel_ends
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import DnsGone, LineCut, LinkCut, LinkPoor, MembersCut, QuorumCut

DNS = 53
LOOKUP = """
import socket, sys
query = bytes.fromhex("1234 0100 0001 0000 0000 0000 02 7979 00 0001 0001")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(0.5)
    try:
        asking.sendto(query, (sys.argv[1], 53))
        asking.recv(512)
    except OSError:
        pass
"""
"""One question for an address (RFC 1035) to the name server given, whoever that is."""


def _router(place: Place, host: str) -> str:
    return network_of(place.estate, place.estate.host(host))


def _link_cut_order(fault: LinkCut, place: Place) -> Order:
    names = (fault.source, fault.destination, *map(str, port_numbers(fault)))
    return order_in(fault.kind, place, _router(place, fault.source), *names)


def _link_cut_inject(fault: LinkCut, place: Place) -> None:
    directions = link_directions(place.estate, fault.source, fault.destination)
    if fault.one_way:
        directions = directions[:1]
    cut(place, _link_cut_order(fault, place), drop_rules(directions, port_matches(port_numbers(fault))))


def _link_cut_bites(fault: LinkCut, place: Place) -> bool:
    return present(_link_cut_order(fault, place), place)


LINK_CUT = Tool(_link_cut_order, _link_cut_inject, _link_cut_bites, remove, absent)
"""A link between two hosts, or between one and everybody; both ways or one; all of it or some ports."""


def _link_poor_order(fault: LinkPoor, place: Place) -> Order:
    return order_in(fault.kind, place, _router(place, fault.source), fault.source, fault.destination)


def _link_poor_inject(fault: LinkPoor, place: Place) -> None:
    directions = link_directions(place.estate, fault.source, fault.destination)
    cut(place, _link_poor_order(fault, place), drop_rules(directions, poor_matches(fault)))


def _link_poor_bites(fault: LinkPoor, place: Place) -> bool:
    return present(_link_poor_order(fault, place), place)


LINK_POOR = Tool(_link_poor_order, _link_poor_inject, _link_poor_bites, remove, absent)
"""A link that loses packets by chance, or all that exceeds a rate. (No delay: this kernel has no netem.)"""


def poor_matches(fault: LinkPoor) -> list[str]:
    """Matches of the packets that a poor link loses. Pure."""
    loss = [] if fault.loss_percent is None else [f"numgen random mod 100 < {fault.loss_percent}"]
    thin = [] if fault.kbytes_s is None else [f"limit rate over {fault.kbytes_s} kbytes/second"]
    return loss + thin


def _member_alone_order(fault: MembersCut, place: Place) -> Order:
    return order_in(fault.kind, place, _router(place, fault.host), fault.host)


def _member_alone_inject(fault: MembersCut, place: Place) -> None:
    directions = member_directions(place.estate, fault.host)
    cut(place, _member_alone_order(fault, place), drop_rules(directions))


def _member_alone_bites(fault: MembersCut, place: Place) -> bool:
    return present(_member_alone_order(fault, place), place)


MEMBER_ALONE = Tool(_member_alone_order, _member_alone_inject, _member_alone_bites, remove, absent)
"""One database member cut from the others, while its clients still reach it."""


def _quorum_order(fault: QuorumCut, place: Place) -> Order:
    return order_in(fault.kind, place, _router(place, place.estate.hosts_with("db")[0].name))


def _quorum_inject(fault: QuorumCut, place: Place) -> None:
    cut(place, _quorum_order(fault, place), drop_rules(member_directions(place.estate)))


def _quorum_bites(fault: QuorumCut, place: Place) -> bool:
    return present(_quorum_order(fault, place), place)


QUORUM_CUT = Tool(_quorum_order, _quorum_inject, _quorum_bites, remove, absent)
"""Every database member cut from every other, while all clients still reach all members."""


def _line_order(fault: LineCut, place: Place) -> Order:
    line = place.estate.line
    peer = line.peer if line else ""
    return order_in(fault.kind, place, _router(place, peer), fault.gateway)


def _line_inject(fault: LineCut, place: Place) -> None:
    """At the premises' own router, where tunnel packets still show which gateway they are for."""
    port = LINE_GATEWAY.port("wireguard").number
    ends = tunnel_ends(place.estate, fault.gateway)
    rules = drop_rules([("", end) for end in ends], [f"udp dport {port}"])
    rules += drop_rules([(end, "") for end in ends], [f"udp sport {port}"])
    cut(place, _line_order(fault, place), rules)


def _line_bites(fault: LineCut, place: Place) -> bool:
    return present(_line_order(fault, place), place)


LINE_CUT = Tool(_line_order, _line_inject, _line_bites, remove, absent)
"""Tunnel packets between the premises and one gateway, or all; everything else of both ends goes on."""


def _dns_order(fault: DnsGone, place: Place) -> Order:
    return order_in(fault.kind, place, _router(place, fault.host), fault.host)


def _dns_inject(fault: DnsGone, place: Place) -> None:
    own = str(host_addresses(place.estate)[fault.host])
    matches = [f"{protocol} dport {DNS}" for protocol in ("udp", "tcp")]
    answers = [f"{protocol} sport {DNS}" for protocol in ("udp", "tcp")]
    rules = drop_rules([(own, "")], matches) + drop_rules([("", own)], answers)
    cut(place, _dns_order(fault, place), rules)


def _dns_bites(fault: DnsGone, place: Place) -> bool:
    """A real question of the host, to a neighbour, must have been dropped."""
    addresses = host_addresses(place.estate)
    near = [h for h in place.estate.hosts if _router(place, h.name) == _router(place, fault.host)]
    neighbour = next((str(addresses[h.name]) for h in near if h.name != fault.host), "198.51.100.53")
    run_in_host(place.paths, fault.host, ["python3", "-c", LOOKUP, neighbour])
    return met(place, _dns_order(fault, place)) > 0


DNS_GONE = Tool(_dns_order, _dns_inject, _dns_bites, remove, absent)
"""Port 53 of a host's way out is dropped.

In a lab nothing depends on it: hosts have their names from /etc/hosts and no name server. The drill shows
just that; where a provider's name server is in use, its absence is what an owner sees.
"""
