"""The one Pulumi program: estate → resources, exactly those of `infra.estate.plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from infra.provider.plugin import PACKAGE, token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from infra.estate.plan import PlannedResource

PROJECT = "yiyun"
PROVIDER_NAME = "estate"
"""CRITICAL: the provider's logical name stands in the engine's state."""


class EstateResource(pulumi.CustomResource):
    """A resource of one of the kinds in `infra.resources`."""

    def __init__(self, planned: PlannedResource, options: pulumi.ResourceOptions) -> None:
        properties: dict[str, Any] = planned.inputs.model_dump()
        super().__init__(token(planned.kind), planned.logical_name, properties, options)


def register(resources: Iterable[PlannedResource], *, driver: str, estate: str) -> None:
    """Register resources with the engine that runs this program, and export what others look up.

    `resources` come in an order that respects their needs. `estate` is the estate's name.
    """
    provider = pulumi.ProviderResource(PACKAGE, PROVIDER_NAME, {"driver": driver, "estate": estate})
    registered: dict[str, EstateResource] = {}
    addresses: dict[str, dict[str, pulumi.Output[Any]]] = {"Host": {}, "ElasticIp": {}}
    for planned in resources:
        resource = EstateResource(
            planned,
            pulumi.ResourceOptions(
                provider=provider,
                depends_on=[registered[name] for name in planned.needs],
                protect=planned.protected,
                retain_on_delete=planned.protected,
            ),
        )
        registered[planned.logical_name] = resource
        if planned.kind in addresses:
            addresses[planned.kind][planned.inputs.name] = getattr(resource, "address")  # noqa: B009
    pulumi.export("hosts", addresses["Host"])
    pulumi.export("elastic_ips", addresses["ElasticIp"])
