"""The engine's event stream, read as changes and as errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi.automation import OpType

from infra.engine.changes import Action, Change
from infra.provider.differences import property_changes
from infra.provider.plugin import PACKAGE, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi.automation import EngineEvent, StepEventMetadata

_ACTIONS: dict[OpType, Action] = {
    OpType.CREATE: "create",
    OpType.UPDATE: "update",
    OpType.REPLACE: "replace",
    OpType.CREATE_REPLACEMENT: "replace",
    OpType.DELETE_REPLACED: "replace",
    OpType.DELETE: "delete",
}

_DOING: dict[Action, str] = {
    "create": "creating",
    "update": "changing",
    "replace": "replacing",
    "delete": "removing",
    "adopt": "taking over",
}


class Watcher:
    """Collects what the engine does. Creating one of `adoptable` (logical names) is taking it over."""

    def __init__(self, adoptable: frozenset[str], progress: Callable[[str], None] | None = None) -> None:
        self._adoptable = adoptable
        self._progress = progress
        self._changes: dict[str, Change] = {}
        self._errors: list[str] = []

    def event(self, event: EngineEvent) -> None:
        """Take one event; the engine's stream calls this from a thread of its own."""
        if event.resource_pre_event is not None:
            self._step(event.resource_pre_event.metadata)
        diagnostic = event.diagnostic_event
        if diagnostic is not None and diagnostic.severity == "error":
            self._errors.append(" ".join(diagnostic.message.split()))

    def changes(self) -> tuple[Change, ...]:
        """Changes so far, in the engine's order."""
        return tuple(self._changes.values())

    def errors(self) -> str:
        """What the engine and the provider said went wrong, in one sentence; empty when nothing did."""
        return "; ".join(dict.fromkeys(self._errors))

    def _step(self, step: StepEventMetadata) -> None:
        action = _ACTIONS.get(step.op)
        if action is None or not step.type.startswith(f"{PACKAGE}:index:"):
            return
        kind, name = kind_of(step.type), step.urn.rsplit("::", 1)[-1]
        old, new = _inputs(step.old), _inputs(step.new)
        if action == "create" and name in self._adoptable:
            action = "adopt"
        shown = property_changes(kind, new, old) if action in {"update", "replace"} and old and new else ()
        known = self._changes.get(step.urn)
        if known is None or not known.properties:
            self._changes[step.urn] = Change(name, kind, action, shown)
        if self._progress is not None and known is None:
            self._progress(f"{_DOING[action]} {kind} {new.get('name') or old.get('name')}")


def _inputs(state: Any) -> Mapping[str, Any]:
    if state is None or not state.inputs:
        return {}
    return {name: value for name, value in state.inputs.items() if not name.startswith("__")}
