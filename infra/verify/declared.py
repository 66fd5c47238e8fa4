"""The rules that a pair of hosts needs, and where their declarations stand. Changes nothing."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import infra.services
from infra.estate.endpoints import addresses_of, endpoint_named
from infra.estate.flows import flows, sources_of
from infra.estate.matrix import route_between
from infra.estate.rules import rules_of, rules_of_endpoint
from infra.services.catalogue import service_named

if TYPE_CHECKING:
    from infra.estate.flows import Flow
    from infra.estate.matrix import Check
    from infra.estate.model import Estate
    from infra.resources import Rule

Direction = Literal["in", "out"]
NO_RULE = "no rule: dropped by default"


@dataclass(frozen=True)
class GroupRule:
    """A rule of a security group that a connection needs, or that group's default drop."""

    group: str
    direction: Direction
    rule: Rule | None = None
    """None: nothing permits it, so the group's last rule drops it."""

    @property
    def comment(self) -> str:
        """How the lab's fabric labels this rule (`infra.drivers.lab.rulesets`)."""
        if self.rule is None:
            return f"sg:{self.group}:{self.direction}:drop"
        r = self.rule
        return f"sg:{self.group}:{r.direction}:{r.protocol}:{r.port}:{r.peer}"

    @property
    def text(self) -> str:
        """The rule in words."""
        if self.rule is None:
            return f"security group {self.group}, {self.direction}: {NO_RULE}"
        r, to = self.rule, "from" if self.direction == "in" else "to"
        return f"security group {self.group}, {r.direction}: permit {r.protocol} {r.port} {to} {r.peer}"


def flow_of(estate: Estate, source: str, destination: str, port: int, protocol: str) -> Flow | None:
    """The declaration that permits a connection, or None."""
    return next(
        (
            f
            for f in flows(estate)
            if (f.source, f.destination, f.port.number, f.port.protocol)
            == (source, destination, port, protocol)
        ),
        None,
    )


def rules_needed(
    estate: Estate, source: str, destination: str, port: int, protocol: str
) -> tuple[GroupRule, ...]:
    """Every group a connection must pass and the rule it passes by, the source's side first.

    A machine that exists already has no group.

    `source`: a host, or a caller outside (`operators`, `internet`, `sites`, `load-balancer:NAME`).
    """
    flow = flow_of(estate, source, destination, port, protocol)
    senders = _senders(estate, source, destination)
    needed: list[GroupRule] = []
    existing = {h.name for h in estate.hosts if h.exists}
    endpoint = endpoint_named(estate, destination)
    target = str(endpoint.network) if endpoint else f"{addresses_of(estate)[destination]}/32"
    for group in (g for g in senders if g not in existing):
        peers = {target} if flow else set[str]()
        needed += _matching(estate, group, "out", port, protocol, peers)
    if _reaches(estate, source, destination) and destination not in existing:
        peers = {str(n) for n in sources_of(estate, flow)} if flow else set[str]()
        needed += _matching(estate, destination, "in", port, protocol, peers)
    return tuple(needed)


def rule_text(estate: Estate, check: Check) -> str:
    """The declared rules a check rests on, in a line; or that nothing declares it."""
    if check.flow is None:
        return f"nothing declares it: {check.destination} has {NO_RULE}"
    needed = rules_needed(estate, check.source, check.destination, check.port, check.protocol)
    return f"{'; '.join(n.text for n in needed)} ({check.flow.because})"


def _senders(estate: Estate, source: str, destination: str) -> list[str]:
    """Hosts whose own group a connection leaves by: for the line the gateways that are not its end."""
    names = {h.name: h for h in estate.hosts}
    if source not in names:
        return []
    if destination not in names:
        return [source]
    if estate.line and route_between(estate, names[source], names[destination]) == "line":
        return [g for g in estate.line.gateways if g != destination]
    return [source]


def _reaches(estate: Estate, source: str, destination: str) -> bool:
    names = {h.name: h for h in estate.hosts}
    if source not in names:
        return True
    if destination not in names:
        return names[source].subnet is not None
    return route_between(estate, names[source], names[destination]) != "apart"


def _matching(
    estate: Estate, group: str, direction: Direction, port: int, protocol: str, peers: set[str]
) -> list[GroupRule]:
    """`group`: a host, or an endpoint by its name."""
    endpoint = endpoint_named(estate, group)
    if endpoint is not None:
        rules, label = rules_of_endpoint(estate, endpoint, flows(estate)), endpoint.group
    else:
        rules, label = rules_of(estate, estate.host(group), flows(estate)), group
    found = [
        GroupRule(label, direction, r)
        for r in rules
        if (r.direction, r.port, r.protocol) == (direction, port, protocol) and r.peer in peers
    ]
    return found or [GroupRule(label, direction)]


@cache
def declaration_place(service: str, port: str) -> str:
    """`FILE:LINE` where a service declares a port; empty for what no module declares."""
    wanted = service_named(service)
    for module in pkgutil.iter_modules(infra.services.__path__):
        loaded = importlib.import_module(f"{infra.services.__name__}.{module.name}")
        names = [name for name, value in vars(loaded).items() if value is wanted and wanted is not None]
        line = _assignment_line(Path(str(loaded.__file__)), names, port)
        if line:
            return f"infra/services/{module.name}.py:{line}"
    return ""


def _assignment_line(path: Path, names: list[str], port: str) -> int:
    for node in ast.parse(path.read_text(encoding="utf-8")).body if names else []:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id in names for t in targets):
            calls = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
            return next((c.lineno for c in calls if _declares(c, port)), node.lineno)
    return 0


def _declares(node: ast.Call, port: str) -> bool:
    return (
        isinstance(node.func, ast.Name)
        and node.func.id == "Port"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == port
    )
