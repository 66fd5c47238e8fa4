"""What no resource says of a lab: at which ports of 127.0.0.1 it is reached, and from where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from infra.drivers.lab.names import INTERNET, OPERATOR
from infra.estate.addresses import (
    elastic_addresses,
    elastic_name_of_balancer,
    elastic_name_of_host,
    host_addresses,
)
from infra.estate.endpoints import OWN_NUMBER, RECOVERY_NUMBER, endpoints
from infra.services.monitoring import ZABBIX_FRONTEND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths


class Door(BaseModel):
    """One published port: 127.0.0.1:`listen` leads to `address`:`port`, entered from a namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    listen: int
    namespace: str
    """Thing whose network namespace the connection starts in."""
    source: str
    address: str
    port: int
    lab: str = ""
    """The lab whose namespace that is; empty: its own."""


class LabSettings(BaseModel):
    """The lab's settings, derived from the estate and kept beside the records."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    operator: str = OPERATOR
    """Address of the operators' machine on the internet."""
    doors: tuple[Door, ...] = ()
    home: str = ""
    """The lab whose internet this one stands on, beside it: a recovery's. Empty: it has one of its own."""
    number: int = OWN_NUMBER
    """Of its first VPC on the provider's backbone."""
    reached: tuple[str, ...] = ()
    """Addresses of object stores that are another lab's, and called from here."""


def settings_of(estate: Estate) -> LabSettings:
    """The lab settings of an estate. Pure."""
    operators = estate.internet.operators
    operator = str(operators[0].network_address) if operators else OPERATOR
    home = estate.recovers.estate if estate.recovers else ""
    doors = tuple(_doors(estate, operator))
    if not home:
        return LabSettings(operator=operator, doors=doors)
    return LabSettings(
        operator=operator,
        doors=tuple(d.model_copy(update={"lab": home}) if d.namespace == INTERNET else d for d in doors),
        home=home,
        number=RECOVERY_NUMBER,
        reached=tuple(str(e.address) for e in endpoints(estate)),
    )


def _doors(estate: Estate, operator: str) -> Iterator[Door]:
    public, private, published = elastic_addresses(estate), host_addresses(estate), estate.lab.published

    def from_internet(name: str, listen: int, elastic: str, port: int) -> Iterator[Door]:
        if elastic in public:
            address = str(public[elastic])
            yield Door(
                name=name, listen=listen, namespace=INTERNET, source=operator, address=address, port=port
            )

    for bastion in estate.hosts_with("ops")[:1]:
        elastic = elastic_name_of_host(bastion.name)
        yield from from_internet("bastion", published.bastion, elastic, 22)
        yield from from_internet(
            "monitoring", published.monitoring, elastic, ZABBIX_FRONTEND.port("https").number
        )
    for balancer in estate.load_balancers[:1]:
        yield from from_internet("web", published.web, elastic_name_of_balancer(balancer.name), balancer.port)
    for endpoint in endpoints(estate):
        if endpoint.region != estate.region.name:
            yield Door(
                name="backups",
                listen=published.backups,
                namespace=INTERNET,
                source=operator,
                address=str(endpoint.address),
                port=endpoint.service.port("s3").number,
            )
    for site in estate.sites[:1]:
        edges = [h for h in estate.hosts_with("edge") if h.site == site.name and h.provider == "estate"]
        if edges and site.operator_address:
            yield Door(
                name="premises",
                listen=published.premises,
                namespace=site.name,
                source=str(site.operator_address),
                address=str(private[edges[0].name]),
                port=22,
            )


def settings_path(paths: EstatePaths) -> Path:
    """File of the lab's settings."""
    return paths.records / "lab.json"


def write_settings(paths: EstatePaths, settings: LabSettings) -> None:
    """Keep the settings; the next `realise` follows them."""
    path = settings_path(paths)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(settings.model_dump(), indent=1), encoding="utf-8")
    temporary.replace(path)


def read_settings(paths: EstatePaths) -> LabSettings:
    """The settings kept, or the defaults (no door is open) when none were."""
    path = settings_path(paths)
    if not path.exists():
        return LabSettings()
    return LabSettings.model_validate_json(path.read_text(encoding="utf-8"))
