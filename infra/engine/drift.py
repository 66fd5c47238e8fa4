"""Drift of the infrastructure: what is declared against what the driver finds. Reads only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING

from infra.engine.changes import Change
from infra.provider.differences import must_replace, property_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.drivers.base import Driver
    from infra.estate.plan import PlannedResource

_READERS = 8
"""Lookups at once: a cloud answers each in tens of milliseconds and limits how many."""


def drift_of(planned: Sequence[PlannedResource], driver: Driver) -> tuple[Change, ...]:
    """What a run of `up` would have to put right: missing resources, and properties changed by hand."""
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(_drifted, planned, repeat(driver)))
    return tuple(change for change in found if change is not None)


def _drifted(resource: PlannedResource, driver: Driver) -> Change | None:
    actual = driver.find(resource.kind, resource.inputs.name)
    if actual is None:
        return Change(resource.logical_name, resource.kind, "create")
    shown = property_changes(resource.kind, resource.inputs.model_dump(), actual.inputs.model_dump())
    if not shown:
        return None
    replaced = must_replace(resource.kind, {p.name.partition(".")[0] for p in shown})
    return Change(resource.logical_name, resource.kind, "replace" if replaced else "update", shown)
