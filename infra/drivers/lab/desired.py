"""Everything the records say about one lab, read once: the input of all plans."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra import resources as kinds
from infra.drivers.lab.guests import Guest, read_guests
from infra.drivers.lab.records import Records
from infra.drivers.lab.settings import LabSettings, read_settings

if TYPE_CHECKING:
    from infra.paths import EstatePaths


@dataclass(frozen=True)
class Desired:
    """The wanted state of a lab."""

    estate: str
    settings: LabSettings = field(default_factory=LabSettings)
    vpcs: tuple[kinds.Vpc, ...] = ()
    subnets: tuple[kinds.Subnet, ...] = ()
    sites: tuple[kinds.Site, ...] = ()
    groups: tuple[kinds.SecurityGroup, ...] = ()
    disks: tuple[kinds.Disk, ...] = ()
    hosts: tuple[kinds.Host, ...] = ()
    packages: tuple[kinds.BandwidthPackage, ...] = ()
    elastic_ips: tuple[kinds.ElasticIp, ...] = ()
    balancers: tuple[kinds.LoadBalancer, ...] = ()
    listeners: tuple[kinds.Listener, ...] = ()
    stores: tuple[kinds.ObjectStore, ...] = ()
    buckets: tuple[kinds.Bucket, ...] = ()
    guests: tuple[Guest, ...] = ()
    """Labs that stand on this one's internet."""

    @property
    def empty(self) -> bool:
        """True when nothing is recorded, so that nothing at all should run."""
        return not (self.vpcs or self.sites or self.hosts or self.stores)

    def group_of(self, host: kinds.Host) -> kinds.SecurityGroup | None:
        """The security group of a host; None (which means: nothing is permitted) when it has no record."""
        return next((g for g in self.groups if g.name == host.security_group), None)

    def hosts_in(self, network: str) -> tuple[kinds.Host, ...]:
        """Hosts of a VPC or site."""
        return tuple(h for h in self.hosts if h.network == network)


def read_desired(paths: EstatePaths) -> Desired:
    """Read all records and settings of an estate."""
    records = Records(paths.records)
    return Desired(
        estate=paths.estate,
        settings=read_settings(paths),
        vpcs=tuple(records.all(kinds.Vpc)),
        subnets=tuple(records.all(kinds.Subnet)),
        sites=tuple(records.all(kinds.Site)),
        groups=tuple(records.all(kinds.SecurityGroup)),
        disks=tuple(records.all(kinds.Disk)),
        hosts=tuple(records.all(kinds.Host)),
        packages=tuple(records.all(kinds.BandwidthPackage)),
        elastic_ips=tuple(records.all(kinds.ElasticIp)),
        balancers=tuple(records.all(kinds.LoadBalancer)),
        listeners=tuple(records.all(kinds.Listener)),
        stores=tuple(records.all(kinds.ObjectStore)),
        buckets=tuple(records.all(kinds.Bucket)),
        guests=read_guests(paths),
    )
