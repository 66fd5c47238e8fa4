"""Endpoints of managed services: what the provider runs in a region, called by hosts of the estate. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from infra.estate.addresses import BACKBONE_ADDRESS, host_addresses, store_addresses
from infra.services.storage import OBJECT_STORAGE

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.services.model import Service

EVERYWHERE = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True)
class Endpoint:
    """A managed service in one region."""

    service: Service
    region: str
    domain: str
    address: IPv4Address | None
    """None where the provider has it behind a name."""

    @property
    def name(self) -> str:
        """How flows, the probe and `why` call it."""
        return f"{self.service.name}:{self.region}"

    @property
    def group(self) -> str:
        """CRITICAL: stands in the engine's state. Name of its resource and of the rules that guard it."""
        return f"s3-{self.region}"

    @property
    def host_name(self) -> str:
        """The name in its certificate, under which hosts call it."""
        return f"s3.{self.region}.{self.domain}"

    @property
    def network(self) -> IPv4Network:
        """What a rule towards it names."""
        return IPv4Network(f"{self.address}/32") if self.address else EVERYWHERE


def endpoints(estate: Estate) -> tuple[Endpoint, ...]:
    """All endpoints of the estate: object storage of every region that has a bucket."""
    return tuple(
        Endpoint(OBJECT_STORAGE, region, estate.domain, address)
        for region, address in store_addresses(estate).items()
    )


def endpoint_named(estate: Estate, name: str) -> Endpoint | None:
    """The endpoint of that name, or None."""
    return next((e for e in endpoints(estate) if e.name == name), None)


def addresses_of(estate: Estate) -> dict[str, IPv4Address]:
    """Address of every host, and of every endpoint that has one, by name."""
    known = {e.name: e.address for e in endpoints(estate) if e.address is not None}
    return {**host_addresses(estate), **known}


OWN_NUMBER, RECOVERY_NUMBER = 1, 2
"""Of an estate's VPC, and of the VPC of an estate that recovers it, on the provider's backbone."""


def backbone_addresses() -> tuple[IPv4Address, ...]:
    """Under which an estate's VPC calls endpoints of other regions, and so does one that takes its place."""
    return tuple(IPv4Address(BACKBONE_ADDRESS.format(number)) for number in (OWN_NUMBER, RECOVERY_NUMBER))
