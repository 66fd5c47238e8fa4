"""Why a port of a host is open or closed: the whole chain, from the estate's line to the last probe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

from infra.errors import BadInputError, YiyunError
from infra.estate.endpoints import endpoint_named, endpoints
from infra.estate.loading import find_estate_file, read_document
from infra.estate.matrix import route_between, route_to_endpoint
from infra.services.catalogue import services_of
from infra.services.model import INTERNET, LOAD_BALANCER, OPERATORS, SITES, Protocol
from infra.verify.declared import declaration_place, flow_of, rules_needed
from infra.verify.results import load_probe, verdict_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.estate.flows import Flow
    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.verify.declared import GroupRule
    from infra.verify.results import ProbeResult

ROUTES = {
    "fabric": "inside one network, whose fabric decides",
    "line": "over the encrypted line, through a gateway of {gateways}, then the cloud's fabric",
    "managed": "to an endpoint that the provider runs, through the cloud's fabric",
    "apart": "no path is declared between the two networks: the source's own fabric drops it",
    "outside": "from outside, by the public address",
}


@dataclass(frozen=True)
class Fact:
    """A thing that is so, and where that stands (`FILE:LINE`, or empty)."""

    text: str
    where: str = ""


@dataclass(frozen=True)
class RuleFact:
    """A rule a connection meets, with its live counter where the fabric can be asked."""

    group: str
    direction: str
    text: str
    permits: bool
    packets: int | None = None
    installed: bool | None = None
    """False: declared, but the fabric has it not. None: the fabric could not be asked."""


@dataclass(frozen=True)
class Probed:
    """What the last probe saw of this pair and port."""

    verdict: str
    at: str
    scope: str
    via: str = ""


@dataclass(frozen=True)
class Chain:
    """Every link from the declaration to the wire."""

    source: str
    destination: str
    port: int
    protocol: str
    permitted: bool
    route: str
    lines: tuple[Fact, ...]
    """Where the estate file names both ends."""
    declaration: Fact
    rules: tuple[RuleFact, ...]
    probed: tuple[Probed, ...]
    unguarded: tuple[Fact, ...] = ()
    """Ends that exist already: the fabric cannot vouch for them."""

    def as_json(self) -> dict[str, Any]:
        """Fields of `why` in the JSON contract."""
        return asdict(self)

    def as_text(self) -> list[str]:
        """A line a link, for people."""
        word = "permitted" if self.permitted else "denied"
        lines = [f"{self.source} → {self.destination} {self.port}/{self.protocol}: {word}"]
        lines += [f"  estate       {f.text}  ({f.where})" for f in self.lines]
        lines.append(f"  route        {self.route}")
        where = f"  ({self.declaration.where})" if self.declaration.where else ""
        lines.append(f"  declaration  {self.declaration.text}{where}")
        for rule in self.rules:
            lines.append(f"  rule         {rule.text}")
            lines.append(f"  counter      {_counted(rule)}")
        lines += [f"  unguarded    {f.text}" for f in self.unguarded]
        lines += [
            f"  last probe   {p.verdict}{f' via {p.via}' if p.via else ''}  ({p.at}, by {p.scope})"
            for p in self.probed
        ]
        if not self.probed:
            lines.append("  last probe   this port was not probed yet: yiyun verify")
        return lines


def explain(
    estate: Estate,
    source_file: str,
    paths: EstatePaths,
    source: str,
    destination: str,
    port: int,
    protocol: str = "tcp",
) -> Chain:
    """The chain for one pair, port and protocol.

    `source_file`: name or path of the estate file. `source`: a host, or `operators`, `internet`, `sites`,
    `load-balancer:NAME`. `destination`: a host, or an endpoint of the provider, `object-storage:REGION`.
    Raises BadInputError for a name or number that does not exist.
    """
    _must_exist(estate, source, destination, port, protocol)
    flow = flow_of(estate, source, destination, port, protocol)
    needed = rules_needed(estate, source, destination, port, protocol)
    counters = live_counters(estate, paths)
    return Chain(
        source=source,
        destination=destination,
        port=port,
        protocol=protocol,
        permitted=flow is not None,
        route=_route(estate, source, destination),
        lines=_estate_facts(estate, source_file, source, destination),
        declaration=_declaration(estate, flow, destination, port, protocol),
        rules=tuple(_rule_fact(rule, counters) for rule in needed),
        probed=_probed(load_probe(paths.last_probe), source, destination, port, protocol),
        unguarded=_unguarded(estate, source, destination),
    )


def live_counters(estate: Estate, paths: EstatePaths) -> Mapping[str, int] | None:
    """Packets by the rule's label in the lab's fabric, or None where there is no fabric to ask."""
    if estate.provider != "lab":
        return None
    from infra.drivers.lab.fabric import fabric_counters

    try:
        found = fabric_counters(paths)
    except YiyunError:
        return None
    return {c.comment: c.packets for c in found} or None


def _must_exist(estate: Estate, source: str, destination: str, port: int, protocol: str) -> None:
    names = [h.name for h in estate.hosts]
    callers = [OPERATORS, INTERNET, SITES, *(f"{LOAD_BALANCER}:{b.name}" for b in estate.load_balancers)]
    targets = [*names, *(e.name for e in endpoints(estate))]
    if destination not in targets:
        raise BadInputError(f"no host {destination}", hint=f"one of {', '.join(targets)}")
    if source not in {*names, *callers}:
        raise BadInputError(f"no host {source}", hint=f"one of {', '.join([*names, *callers])}")
    if source == destination:
        raise BadInputError(
            f"{source} reaches itself without crossing the fabric", hint="name two different hosts"
        )
    if not 1 <= port <= 65535:
        raise BadInputError(f"no port {port}", hint="a number from 1 to 65535")
    if protocol not in get_args(Protocol):
        raise BadInputError(f"no protocol {protocol}", hint="tcp or udp")


def _route(estate: Estate, source: str, destination: str) -> str:
    names = {h.name: h for h in estate.hosts}
    if source not in names:
        inside = source.startswith(LOAD_BALANCER)
        return ROUTES["fabric" if inside else "outside"]
    if destination not in names:
        return ROUTES[route_to_endpoint(names[source])]
    route = route_between(estate, names[source], names[destination])
    gateways = " or ".join(estate.line.gateways) if estate.line else ""
    return ROUTES[route].format(gateways=gateways)


def _estate_facts(estate: Estate, source_file: str, source: str, destination: str) -> tuple[Fact, ...]:
    document = read_document(find_estate_file(source_file))
    names = [h.name for h in estate.hosts]
    facts: list[Fact] = []
    for name in (source, destination):
        if name in names:
            host = estate.host(name)
            at = f"site {host.site}" if host.site else f"subnet {host.subnet}"
            text = f"{name}: {at}, roles {', '.join(host.roles)}"
            facts.append(Fact(text, document.place(("hosts", names.index(name), "roles"))))
        elif (endpoint := endpoint_named(estate, name)) is not None:
            index = next(i for i, b in enumerate(estate.buckets) if b.region == endpoint.region)
            text = f"{name}: {endpoint.host_name}, for the buckets of {endpoint.region}"
            facts.append(Fact(text, document.place(("buckets", index))))
        elif name in {OPERATORS, INTERNET}:
            facts.append(Fact(f"{name}: outside the estate", document.place(("internet", name))))
        else:
            facts.append(Fact(f"{name}: declared by the estate", document.place(("load_balancers",))))
    crosses = {h.site for h in estate.hosts if h.name in {source, destination}}
    if estate.line and len(crosses) == 2 and destination in names:
        text = f"line: {estate.line.peer} to {', '.join(estate.line.gateways)}"
        facts.append(Fact(text, document.place(("line", "peer"))))
    return tuple(facts)


def _unguarded(estate: Estate, source: str, destination: str) -> tuple[Fact, ...]:
    ends = [h for h in estate.hosts if h.exists and h.name in {source, destination}]
    return tuple(
        Fact(
            f"{h.name} exists already and has no security group: what "
            f"{'leaves' if h.name == source else 'enters'} it is decided by its own network and firewall, "
            "which yiyun cannot see"
        )
        for h in ends
    )


def _declaration(estate: Estate, flow: Flow | None, destination: str, port: int, protocol: str) -> Fact:
    if flow is not None:
        return Fact(flow.because, declaration_place(flow.service, flow.port.name))
    endpoint = endpoint_named(estate, destination)
    for service in (endpoint.service,) if endpoint else services_of(estate.host(destination)):
        for listens in service.listens:
            if (listens.number, listens.protocol) == (port, protocol):
                callers = ", ".join(c.service for c in listens.callers)
                text = f"{service.name}.{listens.name} ({listens}) may only be called by {callers}"
                return Fact(text, declaration_place(service.name, listens.name))
    return Fact(f"no service of {destination} listens at {port}/{protocol}")


def _rule_fact(needed: GroupRule, counters: Mapping[str, int] | None) -> RuleFact:
    packets = None if counters is None else counters.get(needed.comment)
    installed = None if counters is None else needed.comment in counters
    permits = needed.rule is not None
    return RuleFact(needed.group, needed.direction, needed.text, permits, packets, installed)


def _counted(rule: RuleFact) -> str:
    if rule.installed is None:
        return "the fabric is not running or not ours to ask"
    if not rule.installed:
        return "NOT in the fabric: yiyun drift"
    return f"{rule.packets} packets {'permitted' if rule.permits else 'dropped by default'}"


def _probed(
    result: ProbeResult | None, source: str, destination: str, port: int, protocol: str
) -> tuple[Probed, ...]:
    if result is None:
        return ()
    plain = verdict_key(source, destination, port, protocol)
    found: list[Probed] = []
    for key, verdict in result.verdicts.items():
        sender, _, rest = key.partition(" → ")
        name, _, via = sender.partition(" via ")
        if f"{name} → {rest}" == plain:
            found.append(Probed(verdict, result.at, result.scope, via))
    return tuple(found)
