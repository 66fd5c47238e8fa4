"""Tables of nftables that a drill puts beside the lab's own, one a fault, in a router or an appliance.

The table stands before the fabric's own rules and knows no state, so connections that stand are cut as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra.drivers.lab.commands import run
from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.names import qualified
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runbooks.drills.faults.targets import Direction
    from runbooks.drills.faults.tool import Order, Place

TABLE = "yiyun_drill"
BEFORE_THE_FABRIC = "type filter hook forward priority -300; policy accept;"
"""Where a router's rules stand: the fabric's own are at priority 0."""


def order_in(kind: str, place: Place, router: str, *names: str) -> Order:
    """What undoes a table in a router (or an appliance): its name, of the drill and the fault. Pure."""
    words = [TABLE, place.mark, kind, *filter(None, names)]
    return {"kind": kind, "router": router, "table": "_".join(words).replace("-", "_")}


def drop_rules(directions: Iterable[Direction], matches: Iterable[str] = ("",)) -> list[str]:
    """Rules that drop and count: each direction with each match (`tcp dport 3306`; empty is all). Pure."""
    wanted = list(matches)
    return [
        " ".join([*_ends(source, target), *filter(None, [match]), "counter drop"])
        for source, target in directions
        for match in wanted
    ]


def port_matches(ports: Iterable[int], protocol: str = "tcp") -> list[str]:
    """Matches of what goes to a port and of what answers from it; without ports, of everything. Pure."""
    found = [f"{protocol} {side} {port}" for port in ports for side in ("dport", "sport")]
    return found or [""]


def table_of(name: str, chains: Mapping[str, Iterable[str]]) -> str:
    """One `nft -f` transaction that makes a table anew. `chains`: rules by the chain's own line. Pure."""
    lines = [f"table inet {name}", f"delete table inet {name}", f"table inet {name} {{"]
    for number, (hook, rules) in enumerate(chains.items(), start=1):
        lines += [f"chain cut{number} {{", hook, *rules, "}"]
    return "\n".join([*lines, "}", ""])


def packets(listing: str) -> int:
    """Packets that met a rule of a table, from `nft -j list table`. Pure."""
    rules = [entry["rule"] for entry in json.loads(listing)["nftables"] if "rule" in entry]
    counters = [e["counter"] for rule in rules for e in rule["expr"] if "counter" in e]
    return sum(int(counter["packets"]) for counter in counters)


def install(place: Place, order: Order, chains: Mapping[str, Iterable[str]]) -> None:
    """Put the table there, in one step. Raises YiyunError."""
    text = table_of(str(order["table"]), chains)
    in_router(place.paths.estate, str(order["router"]), ["nft", "-f", "-"], text)


def cut(place: Place, order: Order, rules: Iterable[str]) -> None:
    """Put the table into a router's way. Raises YiyunError."""
    install(place, order, {BEFORE_THE_FABRIC: rules})


def present(order: Order, place: Place) -> bool:
    """Whether the table is there. Raises YiyunError when its router does not run."""
    listed = in_router(place.paths.estate, str(order["router"]), ["nft", "list", "tables"])
    return f"table inet {order['table']}" in listed.splitlines()


def absent(order: Order, place: Place) -> bool:
    """Whether nothing of it is left."""
    return not present(order, place)


def met(place: Place, order: Order) -> int:
    """Packets that have met its rules so far. Raises YiyunError when it is not there."""
    command = ["nft", "-j", "list", "table", "inet", str(order["table"])]
    return packets(in_router(place.paths.estate, str(order["router"]), command))


def remove(order: Order, place: Place) -> None:
    """Take the table away; absent is fine. Raises YiyunError when it stays."""
    argv = ["ip", "netns", "exec", qualified(place.paths.estate, str(order["router"])), "nft"]
    done = run([*argv, "delete", "table", "inet", str(order["table"])], check=False)
    if done.returncode != 0 and present(order, place):
        raise YiyunError(f"a cut stays: {done.stderr.strip()}", hint="yiyun lab up puts the fabric right")


def _ends(source: str, target: str) -> Iterator[str]:
    if source:
        yield f"ip saddr {source}"
    if target:
        yield f"ip daddr {target}"
