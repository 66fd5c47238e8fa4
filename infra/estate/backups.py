"""What is saved of an estate, where to and how: derived from its services' declarations and buckets. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.services.backup import BUCKETS
from infra.services.catalogue import services_of

if TYPE_CHECKING:
    from infra.estate.model import Estate, Host
    from infra.services.model import Save, Way

AGENT_WAYS: frozenset[Way] = frozenset({"files", "sqlite", "dump"})
"""What a host's agent saves by itself; the others have a way of their own."""


@dataclass(frozen=True)
class Item:
    """Something of a service on a host that is saved."""

    host: str
    service: str
    save: Save


def items_of(host: Host) -> list[Item]:
    """Everything that is saved of a host."""
    return [Item(host.name, service.name, save) for service in services_of(host) for save in service.saves]


def upload_kib(estate: Estate) -> int:
    """KiB a second that a copy may send to the far region: half of what the estate has towards the outside.

    Hosts save at minutes of their own, so the half is rarely one of two at once.
    """
    return estate.internet.bandwidth_mbps * 1000 // 8 * 1000 // 1024 // 2


def stores_of(estate: Estate) -> list[tuple[str, str]]:
    """(region, bucket) of the backups, the near region first; none for an estate without such buckets."""
    found = {b.name: b.region for b in estate.buckets if b.name in BUCKETS}
    return [(found[name], name) for name in BUCKETS if name in found]
