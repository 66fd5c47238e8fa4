"""Records → nftables ruleset of each router. Pure.

A packet between two hosts must pass the sender's group (egress chain) and the receiver's (ingress chain);
each rule has a counter and a comment `sg:GROUP:DIRECTION:PROTOCOL:PORT:PEER`, so `why` reads it live.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from infra.drivers.lab.names import INTERNET, UPLINK, balancer_thing, port_name
from infra.drivers.lab.topology import (
    Attachment,
    attachments,
    backbone_address,
    far_stores,
    public_addresses,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.drivers.lab.desired import Desired

TABLE = "yiyun"
EVERYWHERE = "0.0.0.0/0"
Direction = Literal["in", "out"]


@dataclass(frozen=True)
class Permission:
    """One permitted flow of a group, in the fabric's words."""

    direction: Direction
    protocol: str
    port: int
    peer: str

    def comment(self, group: str) -> str:
        """What `fabric_counters` finds the rule by."""
        return f"sg:{group}:{self.direction}:{self.protocol}:{self.port}:{self.peer}"


@dataclass(frozen=True)
class Group:
    """A security group of one attachment: its addresses and what is permitted."""

    name: str
    attachment: Attachment
    permissions: tuple[Permission, ...]

    def chain(self, direction: Direction) -> str:
        """Name of the group's chain."""
        return f"sg-{self.name}-{direction}"

    def drop_comment(self, direction: Direction) -> str:
        """Comment of the group's last rule, which drops what nothing permitted."""
        return f"sg:{self.name}:{direction}:drop"


@dataclass(frozen=True)
class Shaping:
    """A bandwidth package on a router's device: traffic of these public addresses shares `mbps`."""

    device: str
    side: Literal["saddr", "daddr"]
    addresses: tuple[str, ...]
    class_id: int
    mbps: int


def groups_at(desired: Desired, router: str) -> tuple[Group, ...]:
    """Security groups of everything on a router: hosts and stores as recorded, balancers as they need."""
    of_host = {h.name: h for h in desired.hosts}
    of_store = {s.name: s.rules for s in desired.stores}
    found: list[Group] = []
    for attachment in attachments(desired, router):
        host = of_host.get(attachment.thing)
        recorded = desired.group_of(host) if host else None
        rules = recorded.rules if recorded else of_store.get(attachment.thing, [])
        permitted = [Permission(r.direction, r.protocol, r.port, r.peer) for r in rules]
        permitted += _of_balancer(desired, attachment.thing)
        name = host.security_group if host else attachment.thing
        found.append(Group(name, attachment, tuple(dict.fromkeys(permitted))))
    return tuple(found)


def _of_balancer(desired: Desired, thing: str) -> list[Permission]:
    listeners = [x for x in desired.listeners if balancer_thing(x.load_balancer) == thing]
    incoming = [Permission("in", "tcp", x.port, EVERYWHERE) for x in listeners]
    return incoming + [
        Permission("out", "tcp", b.port, f"{b.address}/32") for x in listeners for b in x.backends
    ]


def shapings(desired: Desired, router: str) -> tuple[Shaping, ...]:
    """Bandwidth packages on a VPC's uplink (what leaves) or the internet's port to a VPC (what enters)."""
    found: list[Shaping] = []
    for vpc in desired.vpcs:
        if router not in {vpc.name, INTERNET}:
            continue
        here = public_addresses(desired, vpc.name)
        device, side = (port_name(vpc.name), "daddr") if router == INTERNET else (UPLINK, "saddr")
        for class_id, package in enumerate(desired.packages, start=16):
            members = sorted(
                e.address for e in desired.elastic_ips if e.package == package.name and e.address in here
            )
            if members:
                found.append(Shaping(device, side, tuple(members), class_id, package.mbps))
    return tuple(found)


def ruleset(desired: Desired, router: str) -> str:
    """The whole ruleset of a router as one `nft -f` transaction. It names its own hash in a comment."""
    body = "\n".join(_body(desired, router))
    digest = hashlib.sha256(body.encode()).hexdigest()[:32]
    return "\n".join(
        [
            f"table inet {TABLE}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            f'  comment "{digest}"',
            body,
            "}",
            "",
        ]
    )


def _body(desired: Desired, router: str) -> Iterator[str]:
    groups = groups_at(desired, router)
    for group in groups:
        yield from _group_chains(group)
    yield from _spoofing(own_addresses(desired, router))
    yield from _forwarding(desired, router, groups)
    yield from _nat(desired, router)
    yield from _classes(desired, router)


def _group_chains(group: Group) -> Iterator[str]:
    for direction in ("in", "out"):
        yield f"  chain {group.chain(direction)} {{"
        for p in group.permissions:
            if p.direction != direction:
                continue
            side = "saddr" if direction == "in" else "daddr"
            peer = "" if p.peer == EVERYWHERE else f"ip {side} {p.peer} "
            comment = p.comment(group.name)
            yield f'    {peer}{p.protocol} dport {p.port} counter return comment "{comment}"'
        yield f'    counter drop comment "{group.drop_comment(direction)}"'
        yield "  }"


def own_addresses(desired: Desired, router: str) -> list[tuple[str, str]]:
    """(port, address): what may be sent from each port of a router; anything else is spoofed."""
    own = [(a.port, address) for a in attachments(desired, router) for address in a.addresses]
    if router == INTERNET:
        for vpc in desired.vpcs:
            known = [*public_addresses(desired, vpc.name), backbone_address(vpc, desired)]
            own += [(port_name(vpc.name), address) for address in known]
        own += [(port_name(s.name), s.internet_address) for s in desired.sites]
        own += [(guest.port, address) for guest in desired.guests for address in guest.addresses]
    return own


def _spoofing(own: list[tuple[str, str]]) -> Iterator[str]:
    yield from _set("set own", "type ifname . ipv4_addr", [f'"{port}" . {address}' for port, address in own])
    yield "  chain spoofing {"
    yield "    type filter hook prerouting priority raw; policy accept;"
    yield '    iifname "to-*" meta nfproto ipv6 counter drop comment "fabric:ipv6"'
    yield '    iifname "to-*" iifname . ip saddr != @own counter drop comment "fabric:spoofed"'
    yield "  }"


def _forwarding(desired: Desired, router: str, groups: tuple[Group, ...]) -> Iterator[str]:
    public = public_addresses(desired, router)
    yield from _map("egress", "ipv4_addr : verdict", _jumps(groups, "out"))
    yield from _map("ingress", "ipv4_addr : verdict", _jumps(groups, "in"))
    yield "  chain groups {"
    yield '    ct state established,related counter accept comment "fabric:established"'
    yield '    ct state invalid counter drop comment "fabric:invalid"'
    yield f'    iifname "{UPLINK}" ct status & dnat != dnat counter drop comment "fabric:unasked"'
    yield "    ip saddr vmap @egress"
    yield "    ip daddr vmap @ingress"
    if router in {v.name for v in desired.vpcs}:
        leaving, far = ", ".join(sorted(public.values())), ", ".join(far_stores(desired, router))
        if far:
            own = ", ".join(sorted(h.address for h in desired.hosts_in(router)))
            yield (
                f'    oifname "{UPLINK}" ip daddr {{ {far} }} ip saddr != {{ {own} }} '
                'counter drop comment "fabric:not-a-host"'
            )
        permitted = f"ip saddr != {{ {leaving} }} " if leaving else ""
        exempt = f"ip daddr != {{ {far} }} " if far else ""
        yield f'    oifname "{UPLINK}" {permitted}{exempt}counter drop comment "fabric:no-elastic-ip"'
    yield '    counter accept comment "fabric:permitted"'
    yield "  }"
    for hook in ("forward", "output"):
        yield f"  chain {hook} {{"
        yield f"    type filter hook {hook} priority filter; policy drop;"
        if hook == "output":
            yield '    oifname "lo" accept'
            yield "    icmp type { destination-unreachable, time-exceeded } accept"
        yield "    jump groups"
        yield "  }"
    yield "  chain input {"
    policy = "accept" if router == INTERNET else "drop"  # the outside world has servers of its own
    yield f"    type filter hook input priority filter; policy {policy};"
    yield '    iifname "lo" accept'
    yield "    ct state established,related accept"
    yield "  }"


def _jumps(groups: Iterable[Group], direction: Direction) -> list[str]:
    return [f"{a} : jump {g.chain(direction)}" for g in groups for a in g.attachment.addresses]


def _nat(desired: Desired, router: str) -> Iterator[str]:
    public = public_addresses(desired, router)
    vpc = next((v for v in desired.vpcs if v.name == router), None)
    site = next((s for s in desired.sites if s.name == router), None)
    yield from _map("inward", "ipv4_addr : ipv4_addr", [f"{p} : {t}" for p, t in public.items()])
    yield from _map("outward", "ipv4_addr : ipv4_addr", [f"{t} : {p}" for p, t in public.items()])
    yield "  chain inbound {"
    yield "    type nat hook prerouting priority dstnat; policy accept;"
    yield "    dnat ip to ip daddr map @inward"
    yield "  }"
    yield "  chain outbound {"
    yield "    type nat hook postrouting priority srcnat; policy accept;"
    if vpc is not None:
        far = far_stores(desired, router)
        if far:
            address = backbone_address(vpc, desired)
            yield f'    oifname "{UPLINK}" ip daddr {{ {", ".join(far)} }} snat ip to {address}'
        yield f'    oifname "{UPLINK}" snat ip to ip saddr map @outward'
    if site is not None:
        yield f'    oifname "{UPLINK}" snat ip to {site.internet_address}'
    yield "  }"


def _classes(desired: Desired, router: str) -> Iterator[str]:
    yield "  chain shaping {"
    yield "    type filter hook postrouting priority 200; policy accept;"
    for s in shapings(desired, router):
        members = f"{{ {', '.join(s.addresses)} }}"
        yield f'    oifname "{s.device}" ip {s.side} {members} meta priority set 1:{s.class_id:x}'
    yield "  }"


def _set(kind: str, type_: str, elements: list[str]) -> Iterator[str]:
    yield f"  {kind} {{"
    yield f"    {type_}"
    if elements:
        yield f"    elements = {{ {', '.join(elements)} }}"
    yield "  }"


def _map(name: str, type_: str, elements: list[str]) -> Iterator[str]:
    return _set(f"map {name}", f"type {type_}", elements)
