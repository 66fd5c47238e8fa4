"""What in the estate a fault hits: disks, links, tunnels, endpoints, leaves. Pure: known before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Literal

from infra.errors import BadInputError
from infra.estate.addresses import elastic_addresses, elastic_name_of_host, host_addresses
from infra.estate.endpoints import endpoints
from infra.estate.plan import network_of
from infra.services.catalogue import service_named, services_of
from runbooks.drills.kinds import (
    ALL,
    EVERYWHERE,
    CertificateExpired,
    DiskFull,
    LineCut,
    LinkCut,
    LinkPoor,
    MembersCut,
    QuorumCut,
    SlowDisk,
    StorageRefusing,
)

if TYPE_CHECKING:
    from infra.estate.endpoints import Endpoint
    from infra.estate.model import Estate
    from infra.services.model import Service
    from runbooks.drills.kinds import Fault

Direction = tuple[str, str]
"""(source address, destination address); an empty one is any."""
RELOADS = {
    "proxy": ("systemctl", "reload", "nginx"),
    "depot": ("systemctl", "reload", "nginx"),
    "zabbix-frontend": ("systemctl", "reload", "nginx"),
    "platform": (),
}
"""Service → what makes it take up a new leaf; nothing where it follows its files by itself.

The database's leaf is in its group's links as well, which take it up only by leaving the group: no fault of
a leaf alone. The router's is between routers only.
"""


@dataclass(frozen=True)
class DataDisk:
    """A host's data disk: its name on the provider's side, and where the host has it."""

    name: str
    mount: str


def data_disk(estate: Estate, host: str, service: str) -> DataDisk:
    """The data disk that a service of a host keeps its data on. Raises BadInputError when there is none.

    A path on the system disk is refused: in a lab that is this machine's own disk.
    """
    found = _service_on(estate, host, service)
    for disk in sorted(estate.host(host).disks, key=lambda d: len(d.mount), reverse=True):
        if any(path == disk.mount or path.startswith(f"{disk.mount}/") for path in found.data_paths):
            return DataDisk(f"{host}-{disk.name}", disk.mount)
    raise BadInputError(
        f"{service} keeps nothing on a data disk of {host}",
        hint="name a service with data on a disk of its own, such as mysql on a database host",
    )


def link_directions(estate: Estate, source: str, destination: str) -> list[Direction]:
    """Both ways of a link, there first. Raises BadInputError for hosts of two networks."""
    addresses = host_addresses(estate)
    near = str(addresses[source])
    if destination == EVERYWHERE:
        return [(near, ""), ("", near)]
    ends = [network_of(estate, estate.host(name)) for name in (source, destination)]
    if ends[0] != ends[1]:
        raise BadInputError(
            f"{source} and {destination} stand in two networks, the line is between them",
            hint="cut the line, or a host from everywhere",
        )
    far = str(addresses[destination])
    return [(near, far), (far, near)]


def port_numbers(fault: LinkCut) -> list[int]:
    """Numbers of a cut link's ports; none are all. Raises BadInputError for a port that nobody declares."""
    return [port if isinstance(port, int) else _declared(port) for port in fault.ports]


def _declared(word: str) -> int:
    name, _, port = word.partition(".")
    service = service_named(name)
    numbers = {p.name: p.number for p in service.listens} if service else {}
    if port not in numbers:
        known = ", ".join(f"{name}.{p}" for p in numbers)
        raise BadInputError(f"no port {word}", hint=f"one of {known}" if known else f"no service {name}")
    return numbers[port]


def member_directions(estate: Estate, alone: str = "") -> list[Direction]:
    """Between database members, every pair both ways; with `alone` only the pairs of that one.

    Raises BadInputError when fewer than two members are in the estate, or `alone` is none.
    """
    addresses = host_addresses(estate)
    members = [h.name for h in estate.hosts_with("db")]
    if len(members) < 2 or (alone and alone not in members):
        raise BadInputError(
            f"{alone or estate.estate} has no database members to be cut from",
            hint=f"database members: {', '.join(members) or 'none'}",
        )
    pairs = permutations(members, 2)
    return [(str(addresses[a]), str(addresses[b])) for a, b in pairs if not alone or alone in {a, b}]


def tunnel_ends(estate: Estate, gateway: str) -> list[str]:
    """Public addresses of the gateways of a path, or of all. Raises BadInputError for what is no gateway."""
    gateways = estate.line.gateways if estate.line else ()
    wanted = gateways if gateway == ALL else (gateway,)
    public = elastic_addresses(estate)
    names = [elastic_name_of_host(name) for name in wanted]
    if not wanted or not set(wanted) <= set(gateways) or not set(names) <= set(public):
        raise BadInputError(
            f"{gateway} is no gateway of the line with a public address",
            hint=f"one of {', '.join([*gateways, ALL])}",
        )
    return [str(public[name]) for name in names]


def store_of(estate: Estate, which: Literal["own", "remote"]) -> Endpoint:
    """The object storage of the estate's own or its remote region. Raises BadInputError without one."""
    region = estate.region.name if which == "own" else estate.remote_region.name
    for endpoint in endpoints(estate):
        if endpoint.region == region and endpoint.address is not None:
            return endpoint
    raise BadInputError(f"no object storage in {region}", hint="declare a bucket there")


def leaf_port(estate: Estate, host: str, service: str) -> int:
    """The port where a service shows its leaf. Raises BadInputError when nothing makes it take up another."""
    found = _service_on(estate, host, service)
    if not found.certificate or service not in RELOADS:
        raise BadInputError(
            f"{service} does not take up a leaf by a reload", hint=f"one of {', '.join(sorted(RELOADS))}"
        )
    return found.listens[0].number


def must_fit(fault: Fault, estate: Estate) -> None:
    """Raises BadInputError when the estate has not what a resolved fault would break."""
    match fault:
        case DiskFull() | SlowDisk():
            data_disk(estate, fault.host, fault.service)
        case LinkCut():
            link_directions(estate, fault.source, fault.destination)
            port_numbers(fault)
        case LinkPoor():
            link_directions(estate, fault.source, fault.destination)
        case MembersCut():
            member_directions(estate, fault.host)
        case QuorumCut():
            member_directions(estate)
        case LineCut():
            tunnel_ends(estate, fault.gateway)
        case StorageRefusing():
            store_of(estate, fault.store)
        case CertificateExpired():
            leaf_port(estate, fault.host, fault.service)
        case _:
            pass


def _service_on(estate: Estate, host: str, service: str) -> Service:
    running = {s.name: s for s in services_of(estate.host(host))}
    if service not in running:
        raise BadInputError(f"{host} runs no {service}", hint=f"it runs {', '.join(sorted(running))}")
    return running[service]
