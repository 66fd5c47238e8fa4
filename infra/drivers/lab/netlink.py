"""Making network namespaces agree with a topology, by netlink. Each function reports what it changed."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute, NetlinkError, netns

from infra.drivers.lab.commands import run
from infra.drivers.lab.names import UPLINK, qualified
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Generator

    from infra.drivers.lab.rulesets import Shaping
    from infra.drivers.lab.topology import Namespace, Route, Wire

RUN_NETNS = Path("/run/netns")
ANYWHERE = "0.0.0.0"  # noqa: S104  a route's destination, nothing listens
OWNER_PREFIX = "yiyun:"
"""Alias of a namespace's loopback: it says whose namespace it is."""


@contextlib.contextmanager
def inside(namespace: str) -> Generator[None]:
    """Run a block of this thread in a network namespace (full name)."""
    with Path("/proc/thread-self/ns/net").open("rb") as own:
        netns.setns(namespace)
        try:
            yield
        finally:
            netns.setns(own.fileno())


def netlink_in(namespace: str) -> IPRoute:
    """A netlink socket in a namespace. Opened from within, so that no helper process has to be forked."""
    with inside(namespace):
        return IPRoute()


def exists(namespace: str) -> bool:
    """True when a namespace of that full name is bound (a plain file left by a crash is not one)."""
    path = RUN_NETNS / namespace
    return path.exists() and path.stat().st_dev != RUN_NETNS.parent.stat().st_dev


def create(namespace: str, owner: str) -> None:
    """Make an empty namespace and write down whose it is."""
    (RUN_NETNS / namespace).unlink(missing_ok=True)
    run(["ip", "netns", "add", namespace])
    mark(namespace, owner)


def attach(namespace: str, pid: int, owner: str) -> None:
    """Give a running process's namespace its name back (after somebody deleted the name)."""
    (RUN_NETNS / namespace).unlink(missing_ok=True)
    run(["ip", "netns", "attach", namespace, str(pid)])
    mark(namespace, owner)


def delete(namespace: str) -> None:
    """Remove a namespace's name; it goes when its last process does. Absent is fine."""
    if exists(namespace):
        run(["ip", "netns", "delete", namespace])
    else:
        (RUN_NETNS / namespace).unlink(missing_ok=True)


def mark(namespace: str, owner: str) -> None:
    """Write the owner on the namespace's loopback and bring it up."""
    with netlink_in(namespace) as ipr:
        ipr.link("set", index=1, state="up", IFLA_IFALIAS=OWNER_PREFIX + owner)


def owner_of(namespace: str) -> str:
    """Whose namespace this is; empty when nobody wrote it down."""
    with netlink_in(namespace) as ipr:
        alias = str(next(iter(ipr.get_links(1))).get("ifalias") or "")
    return alias.removeprefix(OWNER_PREFIX) if alias.startswith(OWNER_PREFIX) else ""


def join(estate: str, wire: Wire) -> bool:
    """Make sure that both ends of a wire exist and belong together. True when it had to be made."""
    (router, port), (thing, interface) = wire.router, wire.end
    return connect((qualified(estate, router), port), (qualified(estate, thing), interface))


def connect(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """The same between two namespaces by their full names, each with its interface."""
    (router, port), (thing, interface) = one, other
    with netlink_in(router) as near, netlink_in(thing) as far:
        here, there = _link(near, port), _link(far, interface)
        if here and there and here.get("link") == there["index"] and there.get("link") == here["index"]:
            return False
        for ipr, link in ((near, here), (far, there)):
            if link is not None:
                with contextlib.suppress(Exception):  # the other end's removal may have taken it along
                    ipr.link("del", index=link["index"])
        peer = {"ifname": interface, "net_ns_fd": thing}
        near.link("add", ifname=port, kind="veth", peer=peer)
    return True


def settle(estate: str, namespace: Namespace) -> list[str]:
    """Make addresses, kernel settings and routes of one namespace agree. Returns what was changed."""
    name = qualified(estate, namespace.thing)
    changed: list[str] = []
    with netlink_in(name) as ipr:
        links = {link.get("ifname"): link for link in ipr.get_links()}
        changed += _addresses(ipr, "lo", links["lo"]["index"], namespace.loopback)
        changed += _kernel_settings(name, namespace)
        for interface in namespace.interfaces:
            link = links.get(interface.name)
            if link is None:
                raise YiyunError(
                    f"{name} has no interface {interface.name}", hint="run the same command again"
                )
            changed += _addresses(ipr, interface.name, link["index"], interface.addresses)
            if link["state"] != "up":
                ipr.link("set", index=link["index"], state="up")
                changed.append(f"{interface.name} up")
        wanted_links = {i.name for i in namespace.interfaces}
        for stray in [n for n in links if n.startswith("to-") and n not in wanted_links]:
            ipr.link("del", index=links[stray]["index"])
            changed.append(f"{stray} removed")
        changed += _routes(ipr, links, namespace)
    return [f"{namespace.thing}: {what}" for what in changed]


def _link(ipr: IPRoute, name: str) -> Any:
    index = next(iter(ipr.link_lookup(ifname=name)), None)
    return None if index is None else next(iter(ipr.get_links(index)))


def _addresses(ipr: IPRoute, device: str, index: int, wanted: tuple[str, ...]) -> list[str]:
    have = {f"{a.get('address')}/{a['prefixlen']}" for a in ipr.get_addr(family=2, index=index)}
    changed: list[str] = []
    missing = [a for a in wanted if a not in have]
    surplus = sorted(have - set(wanted)) if device != "lo" else []
    for address in surplus:
        ipr.addr(
            "del", index=index, address=address.partition("/")[0], prefixlen=int(address.partition("/")[2])
        )
        changed.append(f"{device} -{address}")
    for address in missing:
        ipr.addr(
            "add", index=index, address=address.partition("/")[0], prefixlen=int(address.partition("/")[2])
        )
        changed.append(f"{device} +{address}")
    return changed


def kernel_settings(namespace: Namespace) -> dict[str, str]:
    """Path below /proc/sys/net → value. Proxy ARP answers at once: its delay would cost each first packet."""
    wanted = {"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}
    if namespace.forwards:
        wanted |= {
            "ipv4/ip_forward": "1",
            "ipv4/conf/all/rp_filter": "0",
            "ipv4/conf/default/rp_filter": "0",
            "ipv4/conf/all/send_redirects": "0",
            "ipv4/conf/default/send_redirects": "0",
        }
    for interface in namespace.interfaces:
        if interface.answers_for_all:
            wanted[f"ipv4/conf/{interface.name}/proxy_arp"] = "1"
            wanted[f"ipv4/neigh/{interface.name}/proxy_delay"] = "0"
            wanted[f"ipv4/conf/{interface.name}/send_redirects"] = "0"
    return wanted


def _kernel_settings(name: str, namespace: Namespace) -> list[str]:
    changed: list[str] = []
    with inside(name):
        for key, value in kernel_settings(namespace).items():
            path = Path("/proc/sys/net") / key
            if path.exists() and path.read_text(encoding="ascii").strip() != value:
                path.write_text(value, encoding="ascii")
                changed.append(f"{key}={value}")
    return changed


def _routes(ipr: IPRoute, links: dict[Any, Any], namespace: Namespace) -> list[str]:
    """Only static unicast routes of the main table are ours; what the kernel derives from addresses stays."""
    index_of = {name: link["index"] for name, link in links.items()}
    ours = {i.name for i in namespace.interfaces}
    have: set[tuple[str, int, str, str]] = set()
    for route in ipr.get_routes(family=2, table=254):
        if route["proto"] == 4 and route.get("oif") in {index_of[n] for n in ours}:
            destination = f"{route.get('dst') or ANYWHERE}/{route['dst_len']}"
            have.add((destination, route.get("oif"), route.get("gateway") or "", route.get("prefsrc") or ""))
    wanted = {(r.destination, index_of[r.device], r.via, r.source): r for r in namespace.routes}
    changed: list[str] = []
    if namespace.forwards:
        for destination, index, _, _ in have - set(wanted):
            try:
                ipr.route("del", dst=destination, oif=index)
            except NetlinkError as error:
                if (
                    error.code != errno.ESRCH
                ):  # the kernel took it away with an address or a link just removed
                    raise
            changed.append(f"-route {destination}")
    for key, route in wanted.items():
        if key not in have:
            ipr.route("replace", **_route_arguments(route, key[1]))
            changed.append(f"+route {route.destination}")
    return changed


def _route_arguments(route: Route, index: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"dst": route.destination, "oif": index, "proto": 4}
    if route.via:
        arguments |= {"gateway": route.via, "flags": ["onlink"]}
    else:
        arguments["scope"] = 253
    if route.source:
        arguments["prefsrc"] = route.source
    return arguments


def shape(estate: str, router: str, shapings: tuple[Shaping, ...]) -> list[str]:
    """Bandwidth limits on a router's devices: one HTB class a package, all other traffic unshaped."""
    changed: list[str] = []
    with netlink_in(qualified(estate, router)) as ipr:
        for device in sorted({s.device for s in shapings} | ({UPLINK} & _devices(ipr))):
            wanted = {s.class_id: s.mbps for s in shapings if s.device == device}
            changed += [f"{router}: {c}" for c in _shape_device(ipr, device, wanted)]
    return changed


def _devices(ipr: IPRoute) -> set[str]:
    return {str(link.get("ifname")) for link in ipr.get_links()}


def _shape_device(ipr: IPRoute, device: str, wanted: dict[int, int]) -> list[str]:
    index = next(iter(ipr.link_lookup(ifname=device)))
    kinds = {q.get("kind") for q in ipr.get_qdiscs(index=index)}
    have = _classes(ipr, index) if "htb" in kinds else {}
    if have == wanted:
        return []
    if "htb" in kinds:
        ipr.tc("del", index=index, root=True)
    if wanted:
        ipr.tc("add", "htb", index, "1:", default=0)
    for class_id, mbps in wanted.items():
        ipr.tc(
            "add-class", "htb", index, f"1:{class_id:x}", parent="1:", rate=f"{mbps}mbit", ceil=f"{mbps}mbit"
        )
    return [f"{device} shaped to {sorted(wanted.values())} Mbit/s"]


def _classes(ipr: IPRoute, index: int) -> dict[int, int]:
    """HTB class → Mbit/s, as the kernel has it (it counts bytes a second)."""
    found: dict[int, int] = {}
    for item in ipr.get_classes(index=index):
        options = item.get_attr("TCA_OPTIONS")
        parameters = options.get_attr("TCA_HTB_PARMS")
        found[item["handle"] & 0xFFFF] = round(parameters["rate"] * 8 / 1_000_000)
    return found
