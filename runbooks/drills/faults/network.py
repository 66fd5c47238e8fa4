"""Faults of the network: packets dropped in the lab's routers, in a table of the drill's own.

The table stands before the fabric's own rules and knows no state, so connections that stand are cut as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.commands import run
from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.names import qualified
from infra.errors import BadInputError, YiyunError
from infra.estate.addresses import host_addresses
from infra.estate.plan import network_of
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.estate.model import Estate
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.model import LinkCut, MembersCut

TABLE = "yiyun_drill"
BEFORE_THE_FABRIC = -300
Direction = tuple[str, str]
"""(source address, destination address); an empty one is any."""


def _link_cut_order(fault: LinkCut, place: Place) -> Order:
    return _order(fault.kind, place, fault.source, fault.destination, str(fault.port or ""))


def _link_cut_inject(fault: LinkCut, place: Place) -> None:
    directions = link_directions(place.estate, fault)
    _install(place, _link_cut_order(fault, place), drop_rules(directions, fault.port))


def _link_cut_bites(fault: LinkCut, place: Place) -> bool:
    return _present(place, _link_cut_order(fault, place))


def _link_cut_undo(order: Order, place: Place) -> None:
    _remove(place, order)


def _link_cut_is_undone(order: Order, place: Place) -> bool:
    return not _present(place, order)


LINK_CUT = Tool(_link_cut_order, _link_cut_inject, _link_cut_bites, _link_cut_undo, _link_cut_is_undone)
"""A link between two hosts, or between one and everybody; both ways or one."""


def _member_alone_order(fault: MembersCut, place: Place) -> Order:
    return _order(fault.kind, place, fault.host, "members")


def _member_alone_inject(fault: MembersCut, place: Place) -> None:
    addresses = host_addresses(place.estate)
    own = str(addresses[fault.host])
    others = [str(addresses[h.name]) for h in place.estate.hosts_with("db") if h.name != fault.host]
    directions = [pair for other in others for pair in ((own, other), (other, own))]
    _install(place, _member_alone_order(fault, place), drop_rules(directions, None))


def _member_alone_bites(fault: MembersCut, place: Place) -> bool:
    return _present(place, _member_alone_order(fault, place))


def _member_alone_undo(order: Order, place: Place) -> None:
    _remove(place, order)


def _member_alone_is_undone(order: Order, place: Place) -> bool:
    return not _present(place, order)


MEMBER_ALONE = Tool(
    _member_alone_order,
    _member_alone_inject,
    _member_alone_bites,
    _member_alone_undo,
    _member_alone_is_undone,
)
"""One database member cut from the others, while its clients still reach it."""


def link_directions(estate: Estate, fault: LinkCut) -> list[Direction]:
    """What a cut link drops. Pure. Raises BadInputError for hosts of two networks: the tunnel hides them."""
    addresses = host_addresses(estate)
    source = str(addresses[fault.source])
    if fault.destination == "everywhere":
        target = ""
    else:
        ends = [network_of(estate, estate.host(name)) for name in (fault.source, fault.destination)]
        if ends[0] != ends[1]:
            raise BadInputError(
                f"{fault.source} and {fault.destination} stand in two networks, the line is between them",
                hint="cut the line, or a host from everywhere",
            )
        target = str(addresses[fault.destination])
    there = (source, target)
    return [there] if fault.one_way else [there, (target, source)]


def drop_rules(directions: Iterable[Direction], port: int | None) -> list[str]:
    """Rules of nftables that drop and count. `port`: the destination's, or an answer's source. Pure."""
    return [
        " ".join([*_ends(source, target), *match, "counter drop"])
        for source, target in directions
        for match in _ports(port)
    ]


def table_of(name: str, rules: Iterable[str]) -> str:
    """One `nft -f` transaction that makes the table anew. Pure."""
    hook = f"type filter hook forward priority {BEFORE_THE_FABRIC}; policy accept;"
    lines = [f"table inet {name}", f"delete table inet {name}", f"table inet {name} {{", "chain cut {", hook]
    return "\n".join([*lines, *rules, "}", "}", ""])


def _ends(source: str, target: str) -> Iterator[str]:
    if source:
        yield f"ip saddr {source}"
    if target:
        yield f"ip daddr {target}"


def _ports(port: int | None) -> list[list[str]]:
    return [[]] if port is None else [[f"tcp dport {port}"], [f"tcp sport {port}"]]


def _order(kind: str, place: Place, host: str, *more: str) -> Order:
    router = network_of(place.estate, place.estate.host(host))
    name = "_".join([TABLE, place.mark, host, *filter(None, more)]).replace("-", "_")
    return {"kind": kind, "router": router, "table": name}


def _install(place: Place, order: Order, rules: list[str]) -> None:
    in_router(
        place.paths.estate, str(order["router"]), ["nft", "-f", "-"], table_of(str(order["table"]), rules)
    )


def _present(place: Place, order: Order) -> bool:
    return (
        f"table inet {order['table']}"
        in in_router(place.paths.estate, str(order["router"]), ["nft", "list", "tables"]).splitlines()
    )


def _remove(place: Place, order: Order) -> None:
    argv = ["ip", "netns", "exec", qualified(place.paths.estate, str(order["router"])), "nft"]
    done = run([*argv, "delete", "table", "inet", str(order["table"])], check=False)
    if done.returncode != 0 and _present(place, order):
        raise YiyunError(f"a cut stays: {done.stderr.strip()}", hint="yiyun lab up puts the fabric right")
