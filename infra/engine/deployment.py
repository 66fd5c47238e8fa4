"""The engine's state as plain data: what it knows, and pure corrections of it.

`deployment` is the object that `pulumi stack export` prints under that name.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from infra.errors import BadInputError
from infra.estate.plan import PlannedResource
from infra.provider.differences import changed_properties, must_replace
from infra.provider.plugin import PACKAGE, kind_of
from infra.resources import KINDS, PROTECTED_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from infra.drivers.base import Actual

Deployment: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """One resource of ours in the engine's state."""

    logical_name: str
    kind: str
    id: str
    urn: str
    inputs: dict[str, Any]

    @property
    def name(self) -> str:
        """Physical name."""
        return str(self.inputs.get("name", ""))


def known_resources(deployment: Deployment) -> list[Known]:
    """Resources of ours in the state, in its order."""
    return [
        Known(_name(r["urn"]), kind_of(r["type"]), r.get("id", ""), r["urn"], r.get("inputs", {}))
        for r in deployment.get("resources") or []
        if _is_ours(r) and not r.get("delete")
    ]


@dataclass(frozen=True)
class Held:
    """A protected resource that the estate file would have destroyed. `change`: None when removed."""

    logical_name: str
    kind: str
    properties: tuple[str, ...]
    """Properties that would force a replacement; empty when the estate no longer names the resource."""


def hold_protected(
    planned: Sequence[PlannedResource], deployment: Deployment
) -> tuple[tuple[PlannedResource, ...], tuple[Held, ...]]:
    """The plan with protected resources as they are where it would have removed or replaced them.

    What the estate no longer names stays registered; what cannot change in place keeps its values.
    """
    known = {k.logical_name: k for k in known_resources(deployment) if k.kind in PROTECTED_KINDS}
    names = {p.logical_name for p in planned}
    result: list[PlannedResource] = []
    held: list[Held] = []
    for resource in planned:
        old = known.get(resource.logical_name)
        forced = () if old is None else destructive_changes(resource, old)
        if old is not None and forced:
            held.append(Held(resource.logical_name, resource.kind, forced))
            result.append(_as_known(old, resource.needs))
        else:
            result.append(resource)
    for old in known.values():
        if old.logical_name not in names:
            held.append(Held(old.logical_name, old.kind, ()))
            result.append(_as_known(old, ()))
    return tuple(result), tuple(held)


def settled(planned: Sequence[PlannedResource], deployment: Deployment) -> bool:
    """Whether the state holds exactly the planned resources, with these inputs, and nothing under way."""
    resources = [r for r in deployment.get("resources") or [] if _is_ours(r)]
    if deployment.get("pending_operations") or any(r.get("delete") for r in resources):
        return False
    known = {k.logical_name: k for k in known_resources(deployment)}
    guarded = {_name(r["urn"]) for r in resources if r.get("protect")}
    return {p.logical_name for p in planned} == set(known) and all(
        not changed_properties(p.kind, p.inputs.model_dump(), _plain(known[p.logical_name].inputs))
        and p.protected == (p.logical_name in guarded)
        for p in planned
    )


def _plain(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if not name.startswith("__")}


def destructive_changes(resource: PlannedResource, old: Known) -> tuple[str, ...]:
    """Properties whose change would lose data: immutable ones, and a disk that shrinks."""
    declared = resource.inputs.model_dump()
    names = changed_properties(resource.kind, declared, old.inputs)
    shrinks = {n for n in names if n.startswith("size_") and declared[n] < old.inputs.get(n, 0)}
    return tuple(n for n in names if n in shrinks or must_replace(resource.kind, [n]))


def resolve_pending(
    deployment: Deployment, find: Callable[[str, str], Actual | None]
) -> tuple[Deployment, list[str]]:
    """The state without operations that a killed run left open, and a sentence for each.

    A creation that happened is written into the state, found by its name; one that did not is
    dropped. Changes and deletions are dropped: a refresh reads how far they got.
    """
    result = copy.deepcopy(deployment)
    notes: list[str] = []
    urns = {r["urn"] for r in result.get("resources") or []}
    for operation in result.pop("pending_operations", None) or []:
        resource, doing = operation["resource"], operation["type"]
        name = _name(resource["urn"])
        if doing != "creating" or not _is_ours(resource) or resource["urn"] in urns:
            notes.append(f"{name}: was {doing} when the last run ended; read again")
            continue
        actual = find(kind_of(resource["type"]), str(resource["inputs"]["name"]))
        if actual is None:
            notes.append(f"{name}: had not been created when the last run ended")
            continue
        values = actual.inputs.model_dump()
        result.setdefault("resources", []).append(
            resource | {"id": actual.id, "inputs": values, "outputs": values}
        )
        notes.append(f"{name}: had been created when the last run ended; taken over")
    return result, notes


def unprotect(deployment: Deployment, names: Collection[str]) -> Deployment:
    """The state with protection taken from the resources of these logical names."""
    result = copy.deepcopy(deployment)
    for resource in result.get("resources") or []:
        if _is_ours(resource) and _name(resource["urn"]) in names:
            resource.pop("protect", None)
            resource.pop("retainOnDelete", None)
    return result


def chosen_names(deployment: Deployment, include: Sequence[str]) -> frozenset[str]:
    """Logical names of the protected resources that `include` names, logically or physically.

    Raises BadInputError for a name that fits none.
    """
    protected = [k for k in known_resources(deployment) if k.kind in PROTECTED_KINDS]
    chosen: set[str] = set()
    for name in include:
        fits = {k.logical_name for k in protected if name in {k.logical_name, k.name}}
        if not fits:
            known = ", ".join(k.logical_name for k in protected) or "none"
            raise BadInputError(f"no protected resource is named {name}", hint=f"protected ones: {known}")
        chosen |= fits
    return frozenset(chosen)


def kept(deployment: Deployment, removed: frozenset[str]) -> frozenset[str]:
    """Logical names of what a destroy leaves: protected resources and what they depend on."""
    dependencies = {r["urn"]: set(r.get("dependencies") or []) for r in deployment.get("resources") or []}
    known = {k.urn: k for k in known_resources(deployment)}
    waiting = [u for u, k in known.items() if k.kind in PROTECTED_KINDS and k.logical_name not in removed]
    keeps: set[str] = set()
    while waiting:
        urn = waiting.pop()
        if urn in known and urn not in keeps:
            keeps.add(urn)
            waiting.extend(dependencies[urn])
    return frozenset(known[urn].logical_name for urn in keeps)


def _as_known(old: Known, needs: tuple[str, ...]) -> PlannedResource:
    return PlannedResource(old.kind, KINDS[old.kind].model_validate(old.inputs), needs)


def _is_ours(resource: dict[str, Any]) -> bool:
    return str(resource.get("type", "")).startswith(f"{PACKAGE}:index:")


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]
