"""Counting taps in a lab's routers and hosts: which new connections reach the filter, which come out of it.

They only count: no packet fares differently for them. They live in a table of their own, so that one
that a killed probe left behind is harmless and is replaced by the next.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra.drivers.lab.commands import run
from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.names import qualified

if TYPE_CHECKING:
    from infra.paths import EstatePaths

TABLE = "yiyun_probe"
CAPACITY = 65536
"""Connections a set can hold: ten times what one round of the probe makes."""
BEFORE = -150
"""Prerouting, after connection tracking (-200) and before any translation of the destination (-100)."""
AFTER = 50
"""Postrouting, before any translation of the source (100): only what the filter let through comes here. On a
host's way in (the hook `input`) all tables have had their say by then."""
ARRIVED_BUT_UNSEEN_S = 1.0
"""How long what was put on a wire may take to be counted."""

Connection = tuple[str, str, str, int]
"""Source address, destination address, `tcp` or `udp`, destination port."""


def tap_ruleset(after: str = "postrouting") -> str:
    """The taps as one `nft -f` transaction, empty each time. `after`: the hook past the filter. Pure."""
    kind = "type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic;"
    key = "ip saddr . ip daddr . meta l4proto . th dport"
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for name, hook, priority in (("seen", "prerouting", BEFORE), ("passed", after, AFTER)):
        lines += [
            f"  set {name} {{ {kind} size {CAPACITY}; }}",
            f"  chain {name}-{hook} {{",
            f"    type filter hook {hook} priority {priority}; policy accept;",
            f"    meta nfproto ipv4 meta l4proto {{ tcp, udp }} ct state new add @{name} {{ {key} }}",
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def tapped_routers(paths: EstatePaths) -> tuple[str, ...]:
    """Routers that decide between hosts: of the VPCs and the sites."""
    desired = read_desired(paths)
    return (*(v.name for v in desired.vpcs), *(s.name for s in desired.sites))


def install_taps(paths: EstatePaths) -> None:
    """Put empty taps in every router, in the place of any that are there. Raises YiyunError."""
    for router in tapped_routers(paths):
        install_tap(paths.estate, router)


def install_tap(estate: str, thing: str, after: str = "postrouting") -> None:
    """Put empty taps in one thing's namespace. Raises YiyunError."""
    in_router(estate, thing, ["nft", "-f", "-"], stdin=tap_ruleset(after))


def read_taps(paths: EstatePaths) -> dict[str, tuple[frozenset[Connection], frozenset[Connection]]]:
    """Router → (connections seen before the filter, connections that passed it)."""
    return {router: read_tap(paths.estate, router) for router in tapped_routers(paths)}


def read_tap(estate: str, thing: str) -> tuple[frozenset[Connection], frozenset[Connection]]:
    """(connections seen before a thing's filter, connections that passed it)."""
    sets = _sets(json.loads(in_router(estate, thing, ["nft", "-j", "list", "table", "inet", TABLE])))
    return sets["seen"], sets["passed"]


def remove_taps(paths: EstatePaths) -> None:
    """Take the taps out again. Absent ones are fine."""
    for router in tapped_routers(paths):
        remove_tap(paths.estate, router)


def remove_tap(estate: str, thing: str) -> None:
    """Take the taps out of one thing's namespace. Absent ones are fine."""
    command = ["ip", "netns", "exec", qualified(estate, thing)]
    run([*command, "nft", "delete", "table", "inet", TABLE], check=False)


def _sets(listing: dict[str, Any]) -> dict[str, frozenset[Connection]]:
    items = [item["set"] for item in listing["nftables"] if "set" in item]
    return {item["name"]: frozenset(_connection(e) for e in item.get("elem", [])) for item in items}


def _connection(element: dict[str, Any]) -> Connection:
    value = element["elem"]["val"] if "elem" in element else element
    source, destination, protocol, port = value["concat"]
    return str(source), str(destination), str(protocol), int(port)
