"""The fabric: namespaces, wires, rules and bandwidth of a lab, made to agree with its records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.drivers.lab import netlink
from infra.drivers.lab.commands import run
from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.names import INTERNET, prefix, qualified
from infra.drivers.lab.rulesets import TABLE, ruleset, shapings
from infra.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from infra.drivers.lab.desired import Desired
    from infra.drivers.lab.topology import Topology
    from infra.paths import EstatePaths


@dataclass(frozen=True)
class RuleCounter:
    """A rule of the fabric as the kernel has it now."""

    router: str
    chain: str
    comment: str
    """`sg:GROUP:in|out:tcp|udp:PORT:PEER`, `sg:GROUP:in|out:drop`, or `fabric:WHAT`."""
    packets: int
    octets: int


@dataclass(frozen=True)
class RuleDifferences:
    """Rules that a router lacks or has too many, by chain (or set, or map)."""

    missing: dict[str, list[str]]
    surplus: dict[str, list[str]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus)


def routers(desired: Desired) -> tuple[str, ...]:
    """Things that route: the internet unless it is another lab's, the VPCs, the sites."""
    if desired.empty:
        return ()
    internet = () if desired.settings.home else (INTERNET,)
    return (*internet, *(v.name for v in desired.vpcs), *(s.name for s in desired.sites))


def ensure_namespaces(topology: Topology, estate: str, owner: str, running: Mapping[str, int]) -> list[str]:
    """Make or re-attach every namespace. `running`: thing → process of its running container.

    Raises RefusedError when a namespace of this name belongs to another lab.
    """
    changed: list[str] = []
    for namespace in topology.namespaces:
        name = qualified(estate, namespace.thing)
        if netlink.exists(name):
            found = netlink.owner_of(name)
            if found not in {owner, ""}:
                raise RefusedError(
                    f"{name} belongs to another lab of this name ({found})",
                    hint="give this estate another name, or remove the other lab first",
                )
            if not found:
                netlink.mark(name, owner)
            continue
        pid = running.get(namespace.thing)
        if pid is None:
            netlink.create(name, owner)
        else:
            netlink.attach(name, pid, owner)
        changed.append(f"{namespace.thing}: namespace")
    return changed


def weave(topology: Topology, estate: str) -> list[str]:
    """Make wires, addresses, kernel settings and routes agree with the topology."""
    changed = [f"{wire.end[0]}: wire" for wire in topology.wires if netlink.join(estate, wire)]
    for namespace in topology.namespaces:
        changed += netlink.settle(estate, namespace)
    return changed


def install_rules(desired: Desired) -> list[str]:
    """Install each router's rules, atomically and only where they differ.

    Connections that stand keep standing: the kernel's connection table is not touched.
    """
    changed: list[str] = []
    for router in routers(desired):
        if rule_differences(desired, router):
            in_router(desired.estate, router, ["nft", "-f", "-"], stdin=ruleset(desired, router))
            changed.append(f"{router}: rules")
    return changed


def rule_differences(desired: Desired, router: str) -> RuleDifferences:
    """How a router's rules differ from the recorded ones, as the kernel itself would list both."""
    wanted = ["unshare", "--net", "sh", "-c", f"nft -f - && nft --stateless list table inet {TABLE}"]
    command = ["ip", "netns", "exec", qualified(desired.estate, router)]
    declared = run(wanted, stdin=ruleset(desired, router)).stdout
    actual = run([*command, "nft", "--stateless", "list", "table", "inet", TABLE], check=False).stdout
    return compare_listings(declared, actual)


def compare_listings(declared: str, actual: str) -> RuleDifferences:
    """Two listings of nftables beside each other, chain by chain. Pure."""
    wanted, found = _blocks(declared), _blocks(actual)
    missing: dict[str, list[str]] = {}
    surplus: dict[str, list[str]] = {}
    for name in {*wanted, *found}:
        ours, theirs = wanted.get(name, []), found.get(name, [])
        if ours == theirs:
            continue
        missing[name] = [line for line in ours if line not in theirs]
        surplus[name] = [line for line in theirs if line not in ours]
        if not missing[name] and not surplus[name]:  # another order, or twice the same
            missing[name], surplus[name] = ours, theirs
    return RuleDifferences(missing, surplus)


def _blocks(listing: str) -> dict[str, list[str]]:
    """Chain, set or map → its lines; an empty one counts as being there."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (text.strip() for text in listing.splitlines()):
        if line.startswith(("chain ", "set ", "map ")):
            name = line.split()[1]
            found[name] = [line.split()[0]]
        elif line and line != "}" and name:
            found[name].append(line)
    return found


def limit_bandwidth(desired: Desired) -> list[str]:
    """Make each router's bandwidth limits agree with the packages."""
    return [
        change
        for router in routers(desired)
        for change in netlink.shape(desired.estate, router, shapings(desired, router))
    ]


def in_router(estate: str, thing: str, command: list[str], stdin: str = "") -> str:
    """Output of one of the machine's programs run in a thing's network namespace."""
    return run(["ip", "netns", "exec", qualified(estate, thing), *command], stdin=stdin).stdout


def owned_namespaces(estate: str, owner: str) -> list[str]:
    """Full names of the namespaces that belong to a lab, as marked on them (half-made ones have no mark)."""
    names = sorted(p.name for p in netlink.RUN_NETNS.glob(f"{prefix(estate)}*"))
    return [n for n in names if not netlink.exists(n) or netlink.owner_of(n) in {owner, ""}]


def fabric_counters(paths: EstatePaths) -> list[RuleCounter]:
    """Every commented rule of every router with its live counter."""
    desired = read_desired(paths)
    return [
        RuleCounter(router, rule["chain"], rule["comment"], counter["packets"], counter["bytes"])
        for router in routers(desired)
        for rule in _rules(desired.estate, router)
        for counter in [_counter(rule)]
        if rule.get("comment") and counter is not None
    ]


def owner(paths: EstatePaths) -> str:
    """Identity of a lab on this machine: the folder of its state."""
    return _resolved(paths.root)


def _resolved(path: Path) -> str:
    return str(path.resolve())


def _rules(estate: str, router: str) -> list[dict[str, Any]]:
    listing = json.loads(in_router(estate, router, ["nft", "-j", "list", "table", "inet", TABLE]))
    return [item["rule"] for item in listing["nftables"] if "rule" in item]


def _counter(rule: dict[str, Any]) -> dict[str, int] | None:
    return next((part["counter"] for part in rule["expr"] if "counter" in part), None)
