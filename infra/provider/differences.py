"""How declared and actual properties of a resource differ, and whether it can change in place. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra.resources import IMMUTABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROVIDER_DECIDES: dict[str, frozenset[str]] = {"ElasticIp": frozenset({"address"})}
"""Properties the provider fills in when they are declared empty."""


@dataclass(frozen=True)
class PropertyChange:
    """One property that differs. Of two lists only the items that differ are named."""

    name: str
    declared: Any
    actual: Any

    def as_json(self) -> dict[str, Any]:
        """As the JSON contract has it."""
        return asdict(self)


def changed_properties(kind: str, declared: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Names of top-level properties whose values differ, in order."""
    open_to_provider = PROVIDER_DECIDES.get(kind, frozenset())
    return [
        name
        for name in sorted({*declared, *actual})
        if declared.get(name) != actual.get(name)
        and not (name in open_to_provider and not declared.get(name))
    ]


def property_changes(
    kind: str, declared: Mapping[str, Any], actual: Mapping[str, Any]
) -> tuple[PropertyChange, ...]:
    """What differs, with both values, narrowed to the list items or nested keys that differ."""
    changes: list[PropertyChange] = []
    for name in changed_properties(kind, declared, actual):
        changes.extend(_narrowed(name, declared.get(name), actual.get(name)))
    return tuple(changes)


def must_replace(kind: str, names: Iterable[str]) -> bool:
    """Whether a change of these properties needs a new resource."""
    return not IMMUTABLE[kind].isdisjoint(names)


def _narrowed(name: str, declared: Any, actual: Any) -> list[PropertyChange]:
    if isinstance(declared, list) and isinstance(actual, list):
        only_declared = [item for item in declared if item not in actual]
        only_actual = [item for item in actual if item not in declared]
        if only_declared or only_actual:
            return [PropertyChange(name, only_declared, only_actual)]
    if isinstance(declared, dict) and isinstance(actual, dict):
        return [
            change
            for key in sorted({*declared, *actual})
            if declared.get(key) != actual.get(key)
            for change in _narrowed(f"{name}.{key}", declared.get(key), actual.get(key))
        ]
    return [PropertyChange(name, declared, actual)]
