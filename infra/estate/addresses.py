"""Addresses, derived once from the estate. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from infra.estate.model import Estate, Host, LoadBalancer

FIRST_HOST = 10
"""Hosts without a given address count from .10 of their network; .5 to .9 are the estate's own."""
BALANCER_FIRST = 5
STORE_ADDRESS = "100.64.{}.10"
"""Object stores of a lab, by their region's number from 1: the shared space of RFC 6598, as in clouds."""
BACKBONE_ADDRESS = "100.64.{}.1"
"""Under which a region's VPC calls object stores that are not its own, by its estate's number."""
RECOVERED_FROM = 100
"""Public addresses of an estate that recovers another one count from here on: both may be there at once."""
LINE_FIRST = 200
"""Line addresses (source of what comes over the line) count from .200 of the gateway's subnet."""


def subnet_of(estate: Estate, host: Host) -> IPv4Network | None:
    """The range a host's address belongs to, or None when its subnet or site is unknown."""
    if host.subnet is not None:
        return next((s.cidr for s in estate.vpc.subnets if s.name == host.subnet), None)
    return next((s.cidr for s in estate.sites if s.name == host.site), None)


def host_addresses(estate: Estate) -> dict[str, IPv4Address]:
    """Private address of every host: as given, else the first free one of its range, in the file's order."""
    taken = {host.address for host in estate.hosts if host.address}
    result: dict[str, IPv4Address] = {}
    for host in estate.hosts:
        network = subnet_of(estate, host)
        if host.address is not None:
            result[host.name] = host.address
        elif network is not None:
            free = (
                network[n] for n in range(FIRST_HOST, network.num_addresses - 1) if network[n] not in taken
            )
            result[host.name] = next(free)
            taken.add(result[host.name])
    return result


def balancer_address(estate: Estate, balancer: LoadBalancer) -> IPv4Address:
    """Private address of a load balancer, inside its subnet."""
    if balancer.address is not None:
        return balancer.address
    network = next(s.cidr for s in estate.vpc.subnets if s.name == balancer.subnet)
    return network[BALANCER_FIRST + estate.load_balancers.index(balancer)]


def line_addresses(estate: Estate) -> dict[str, IPv4Address]:
    """Second private address of each gateway: the source of everything that came over the line through it.

    Apart from the gateway's own address, so that the fabric tells the line's traffic from the gateway's.
    """
    if estate.line is None:
        return {}
    result: dict[str, IPv4Address] = {}
    for index, name in enumerate(estate.line.gateways):
        network = subnet_of(estate, estate.host(name))
        if network is not None:
            result[name] = network[LINE_FIRST + index]
    return result


def tunnel_addresses(estate: Estate) -> dict[str, tuple[IPv4Address, IPv4Address]]:
    """(gateway's, peer's) address inside each gateway's tunnel: a /30 of the line's range each."""
    if estate.line is None:
        return {}
    parts = list(estate.line.cidr.subnets(new_prefix=30))
    return {name: (parts[i][1], parts[i][2]) for i, name in enumerate(estate.line.gateways)}


def store_addresses(estate: Estate) -> dict[str, IPv4Address | None]:
    """Region → address of its object storage, of the regions with a bucket, the estate's own first.

    The lab's are ours to give; a cloud has them behind a name, so None there.
    """
    # Stores keep their addresses, whichever estate calls them.
    numbers = {(estate.remote_region if estate.recovers else estate.region).name: 1}
    for region in sorted({b.region for b in estate.buckets} - set(numbers)):
        numbers[region] = len(numbers) + 1
    wanted = {b.region for b in estate.buckets}
    return {
        region: IPv4Address(STORE_ADDRESS.format(number)) if estate.provider == "lab" else None
        for region, number in numbers.items()
        if region in wanted
    }


def elastic_name_of_balancer(balancer: str) -> str:
    """Name of a load balancer's elastic IP."""
    return f"lb-{balancer}"


def elastic_name_of_host(host: str) -> str:
    """Name of the elastic IP of a host that is reached from outside."""
    return f"host-{host}"


def elastic_names(estate: Estate) -> tuple[str, ...]:
    """Names of the elastic IPs an estate needs: one a balancer, one a gateway or bastion."""
    outside = [h.name for h in estate.cloud_hosts if {"gateway", "ops"} & set(h.roles)]
    return (
        *(elastic_name_of_balancer(b.name) for b in estate.load_balancers),
        *(elastic_name_of_host(name) for name in sorted(outside)),
    )


def elastic_addresses(estate: Estate) -> dict[str, IPv4Address]:
    """Public addresses in the lab, from its pool; in the cloud the provider chooses, so none here."""
    return _from_pool(estate, RECOVERED_FROM if estate.recovers else FIRST_HOST)


def elsewhere_addresses(estate: Estate) -> dict[str, IPv4Address]:
    """The same, where another estate has taken this one's place; or of the one whose place this has taken."""
    return _from_pool(estate, FIRST_HOST if estate.recovers else RECOVERED_FROM)


def _from_pool(estate: Estate, first: int) -> dict[str, IPv4Address]:
    pool = estate.internet.pool
    if pool is None:
        return {}
    return {name: pool[first + index] for index, name in enumerate(elastic_names(estate))}
