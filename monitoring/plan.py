"""One planned change: what a person is told, and the call that makes it true."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from infra.engine.changes import Action, Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.provider.differences import PropertyChange

MAX_BATCH = 200
"""Objects in one call: one transaction on the server."""
LINKS_TEMPLATES = ("host.create", "host.update")
"""One object a call. Hosts of one call inherit in chunks of a thousand items, and Zabbix 7.0 gives an item at
a chunk's border to every host of that chunk, linked or not (CItemGeneral::getInheritChunks of 7.0.22)."""


@dataclass(frozen=True)
class Planned:
    """A change and its call. `parameters` hold secrets: never shown. `silent`: part of another change."""

    change: Change
    method: str
    parameters: Any = field(repr=False)


def planned(
    kind: str,
    name: str,
    action: Action,
    call: tuple[str, Any],
    properties: tuple[PropertyChange, ...] = (),
) -> Planned:
    """A planned change of monitoring."""
    return Planned(Change(name, kind, action, properties, "monitoring"), *call)


def calls(plan: Iterable[Planned]) -> Iterator[tuple[str, Any]]:
    """Calls in order, neighbours of one method together: one call each is ten times slower.

    A whole import stands once, however many changes it makes.
    """
    for method, group in groupby(plan, key=lambda p: p.method):
        listed = [p.parameters for p in group]
        if method == "configuration.import":
            yield method, listed[0]
            continue
        most = 1 if method in LINKS_TEMPLATES else MAX_BATCH
        for start in range(0, len(listed), most):
            yield method, listed[start : start + most]
