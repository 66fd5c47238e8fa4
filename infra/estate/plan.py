"""Estate → resources. Pure: the one Pulumi program registers exactly this list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra import resources as kinds
from infra.estate.addresses import (
    balancer_address,
    elastic_addresses,
    elastic_name_of_balancer,
    elastic_name_of_host,
    elastic_names,
    host_addresses,
    line_addresses,
    tunnel_addresses,
)
from infra.estate.capacity import lab_disk_mib, lab_memory_mib, size_of
from infra.estate.endpoints import endpoints
from infra.estate.flows import flows
from infra.estate.rules import rules_of, rules_of_endpoint
from infra.services.catalogue import SERVICES, service_named
from infra.services.platform import LINE_GATEWAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.estate.model import Bucket, Estate, Host
    from infra.services.model import Access

PACKAGE = "shared"


@dataclass(frozen=True)
class PlannedResource:
    """One resource: kind, logical name in the engine's state, inputs, and what must exist before it."""

    kind: str
    inputs: kinds.Inputs
    needs: tuple[str, ...] = field(default=())
    """Logical names."""

    @property
    def logical_name(self) -> str:
        """CRITICAL: stands in the engine's state. Changing it means delete and create."""
        return logical_name(self.kind, self.inputs.name)

    @property
    def protected(self) -> bool:
        """Data and addresses outlive a destroy."""
        return self.kind in kinds.PROTECTED_KINDS


def logical_name(kind: str, name: str) -> str:
    """Name of a resource in the engine's state."""
    return f"{kind.lower()}-{name}"


def plan_resources(estate: Estate, authorized_key: str = "") -> tuple[PlannedResource, ...]:
    """All resources of the estate in an order that respects their needs.

    `authorized_key`: the operators' public SSH key (OpenSSH format).
    """
    return (
        *_networks(estate),
        *_security_groups(estate),
        *_hosts(estate, authorized_key),
        *_public(estate),
        *_balancers(estate),
        *_object_storage(estate),
        *_tunnels(estate),
    )


def provisioned_hosts(estate: Estate) -> tuple[Host, ...]:
    """Hosts that the estate's provider makes: in the lab the premises too, elsewhere they exist already."""
    return tuple(
        h for h in estate.hosts if not h.exists and (h.subnet is not None or estate.provider == "lab")
    )


def network_of(estate: Estate, host: Host) -> str:
    """Name of the VPC or site a host stands in."""
    return host.site or estate.vpc.name


def _networks(estate: Estate) -> Iterator[PlannedResource]:
    vpc = estate.vpc
    yield PlannedResource("Vpc", kinds.Vpc(name=vpc.name, region=estate.region.name, cidr=str(vpc.cidr)))
    for subnet in vpc.subnets:
        inputs = kinds.Subnet(name=subnet.name, vpc=vpc.name, cidr=str(subnet.cidr))
        yield PlannedResource("Subnet", inputs, (logical_name("Vpc", vpc.name),))
    # Premises outlive a region: they are the lab's that a recovery stands beside.
    if estate.provider == "lab" and not estate.recovers:
        for site in estate.sites:
            yield PlannedResource(
                "Site",
                kinds.Site(
                    name=site.name,
                    cidr=str(site.cidr),
                    internet_address=str(site.internet_address),
                    operator_address=str(site.operator_address or ""),
                ),
            )


def _security_groups(estate: Estate) -> Iterator[PlannedResource]:
    permitted = flows(estate)
    for host in provisioned_hosts(estate):
        network = network_of(estate, host)
        inputs = kinds.SecurityGroup(name=host.name, network=network, rules=rules_of(estate, host, permitted))
        kind = "Site" if host.site else "Vpc"
        yield PlannedResource("SecurityGroup", inputs, (logical_name(kind, network),))


def _hosts(estate: Estate, authorized_key: str) -> Iterator[PlannedResource]:
    addresses, line = host_addresses(estate), line_addresses(estate)
    for host in provisioned_hosts(estate):
        disks = {f"{host.name}-{d.name}": d for d in host.disks}
        for name, disk in disks.items():
            size = lab_disk_mib(estate, disk.size_gib)
            inputs = kinds.Disk(
                name=name,
                size_gib=disk.size_gib,
                size_mib=size,
                zone=estate.region.zone if host.subnet else "",
            )
            yield PlannedResource("Disk", inputs)
        network = network_of(estate, host)
        needs = [logical_name("SecurityGroup", host.name), *(logical_name("Disk", name) for name in disks)]
        needs.append(logical_name("Subnet", host.subnet) if host.subnet else logical_name("Site", network))
        yield PlannedResource(
            "Host",
            kinds.Host(
                name=host.name,
                type=host.type,
                vcpu=size_of(host).vcpu if host.type else 0,
                memory_mib=lab_memory_mib(estate, host),
                image=estate.image_of(host),
                network=network,
                subnet=host.subnet or "",
                zone=estate.region.zone if host.subnet else "",
                address=str(addresses[host.name]),
                extra_addresses=[str(line[host.name])] if host.name in line else [],
                security_group=host.name,
                disks=[kinds.AttachedDisk(disk=name, mount=d.mount) for name, d in disks.items()],
                capabilities=_capabilities(host),
                authorized_key=authorized_key,
                domain=estate.domain,
            ),
            tuple(needs),
        )


def _capabilities(host: Host) -> list[str]:
    wanted = {"gateway": "tun", "edge": "tun", "app": "fuse"}
    return sorted({wanted[role] for role in host.roles if role in wanted})


def _public(estate: Estate) -> Iterator[PlannedResource]:
    yield PlannedResource(
        "BandwidthPackage", kinds.BandwidthPackage(name=PACKAGE, mbps=estate.internet.bandwidth_mbps)
    )
    given, addresses = elastic_addresses(estate), host_addresses(estate)
    targets = {elastic_name_of_balancer(b.name): balancer_address(estate, b) for b in estate.load_balancers}
    targets |= {elastic_name_of_host(name): address for name, address in addresses.items()}
    for name in elastic_names(estate):
        inputs = kinds.ElasticIp(
            name=name, address=str(given.get(name, "")), package=PACKAGE, target=str(targets[name])
        )
        yield PlannedResource("ElasticIp", inputs, (logical_name("BandwidthPackage", PACKAGE),))


def _balancers(estate: Estate) -> Iterator[PlannedResource]:
    addresses, made = host_addresses(estate), {h.name for h in provisioned_hosts(estate)}
    for balancer in estate.load_balancers:
        elastic = elastic_name_of_balancer(balancer.name)
        yield PlannedResource(
            "LoadBalancer",
            kinds.LoadBalancer(
                name=balancer.name,
                vpc=estate.vpc.name,
                subnet=balancer.subnet,
                address=str(balancer_address(estate, balancer)),
                elastic_ip=elastic,
            ),
            (logical_name("Subnet", balancer.subnet), logical_name("ElasticIp", elastic)),
        )
        service = service_named(balancer.service)
        if service is None:
            raise KeyError(balancer.service)
        backends = [
            kinds.Backend(
                host=h.name, address=str(addresses[h.name]), port=service.port(balancer.service_port).number
            )
            for h in estate.cloud_hosts
            if set(h.roles) & set(service.roles)
        ]
        yield PlannedResource(
            "Listener",
            kinds.Listener(
                name=f"{balancer.name}-{balancer.port}",
                load_balancer=balancer.name,
                port=balancer.port,
                server_names=list(balancer.server_names),
                certificate=elastic,
                health=kinds.HealthCheck(),
                backends=backends,
            ),
            (
                logical_name("LoadBalancer", balancer.name),
                *(logical_name("Host", b.host) for b in backends if b.host in made),
            ),
        )


def _object_storage(estate: Estate) -> Iterator[PlannedResource]:
    if estate.recovers:
        return  # it works with the stores and buckets that are there: they are the other estate's
    permitted = flows(estate)
    for endpoint in endpoints(estate):
        yield PlannedResource(
            "ObjectStore",
            kinds.ObjectStore(
                name=endpoint.group,
                region=endpoint.region,
                address=str(endpoint.address or ""),
                port=endpoint.service.port("s3").number,
                server_name=endpoint.host_name,
                certificate=endpoint.group,
                rules=rules_of_endpoint(estate, endpoint, permitted),
            ),
            (logical_name("Vpc", estate.vpc.name),),
        )
    for bucket in estate.buckets:
        inputs = kinds.Bucket(
            name=bucket.name,
            region=bucket.region,
            versioned=bucket.versioned,
            object_lock_days=bucket.object_lock_days,
            access=bucket_access(bucket),
        )
        # A bucket outlives what calls it; what it depended on would have to stay with it on destroy.
        yield PlannedResource("Bucket", inputs)


def bucket_access(bucket: Bucket) -> list[kinds.BucketAccess]:
    """Accounts that may use a bucket, by the grants of the services."""
    granted: dict[str, Access] = {
        grant.account: grant.access
        for service in SERVICES
        for grant in service.grants
        if grant.bucket == (bucket.copy_of if grant.of_copies else bucket.name)
    }
    return [kinds.BucketAccess(account=account, access=granted[account]) for account in sorted(granted)]


def _tunnels(estate: Estate) -> Iterator[PlannedResource]:
    if estate.line is None:
        return
    ends, line = tunnel_addresses(estate), line_addresses(estate)
    for gateway in estate.line.gateways:
        elastic = elastic_name_of_host(gateway)
        yield PlannedResource(
            "Tunnel",
            kinds.Tunnel(
                name=gateway,
                gateway=gateway,
                peer=estate.line.peer,
                elastic_ip=elastic,
                port=LINE_GATEWAY.port("wireguard").number,
                gateway_address=str(ends[gateway][0]),
                peer_address=str(ends[gateway][1]),
                line_address=str(line[gateway]),
            ),
            (logical_name("Host", gateway), logical_name("ElasticIp", elastic)),
        )
