from __future__ import annotations

import pytest

from infra import resources as kinds
from infra.drivers.lab.desired import Desired
from infra.drivers.lab.settings import settings_of
from infra.estate.loading import load_estate
from infra.estate.plan import plan_resources


@pytest.fixture(scope="session")
def desired() -> Desired:
    """What the records of the shipped lab say."""
    estate = load_estate("lab")
    planned = plan_resources(estate, authorized_key="ssh-ed25519 AAAA operator")

    def of(kind: type[kinds.Inputs]) -> tuple:  # type: ignore[type-arg]
        return tuple(sorted((p.inputs for p in planned if isinstance(p.inputs, kind)), key=lambda i: i.name))

    return Desired(
        estate="lab",
        settings=settings_of(estate),
        vpcs=of(kinds.Vpc),
        subnets=of(kinds.Subnet),
        sites=of(kinds.Site),
        groups=of(kinds.SecurityGroup),
        disks=of(kinds.Disk),
        hosts=of(kinds.Host),
        packages=of(kinds.BandwidthPackage),
        elastic_ips=of(kinds.ElasticIp),
        balancers=of(kinds.LoadBalancer),
        listeners=of(kinds.Listener),
        stores=of(kinds.ObjectStore),
        buckets=of(kinds.Bucket),
    )
