"""What a plan would change, as the commands show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from infra.provider.differences import PropertyChange

Action: TypeAlias = Literal["create", "update", "replace", "delete", "adopt"]

_SIGNS: dict[str, str] = {"create": "+", "update": "~", "replace": "±", "delete": "-", "adopt": "="}


@dataclass(frozen=True)
class Change:
    """One resource that would change. `resource` is its logical name."""

    resource: str
    kind: str
    action: Action
    properties: tuple[PropertyChange, ...] = ()
    source: Literal["cloud", "host", "monitoring"] = "cloud"
    remedy: str = ""
    """What would put it right, where that is worth a word."""

    def as_json(self) -> dict[str, Any]:
        """As the JSON contract has it."""
        return {
            "resource": self.resource,
            "kind": self.kind,
            "action": self.action,
            "properties": [p.as_json() for p in self.properties],
            "source": self.source,
            **({"remedy": self.remedy} if self.remedy else {}),
        }


@dataclass(frozen=True)
class Preview:
    """What would change, and which protected resources the plan would have destroyed and does not."""

    changes: tuple[Change, ...]
    protected: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of changes by action."""
        return dict(Counter(change.action for change in self.changes))

    def as_markdown(self) -> str:
        """For a reviewer: a sentence, a table of the changes, and what stays."""
        if not self.changes:
            lines = ["Nothing to change."]
        else:
            total = ", ".join(f"{number} to {action}" for action, number in sorted(self.counts.items()))
            lines = [f"**{total}**", "", "| | resource | property | actual | declared |"]
            lines.append("|---|---|---|---|---|")
            for change in self.changes:
                lines.extend(_rows(change))
        lines += [f"\nProtected, stays: `{name}`" for name in self.protected]
        return "\n".join(lines)


@dataclass(frozen=True)
class UpResult:
    """What `up` did, by action. `changed` is 0 when the estate was as declared already."""

    counts: dict[str, int]
    protected: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        """Number of resources created, changed, replaced or removed."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class DestroyResult:
    """Logical names of what was removed and of what was kept."""

    removed: tuple[str, ...]
    retained: tuple[str, ...]


def _rows(change: Change) -> list[str]:
    head = f"| {_SIGNS[change.action]} {change.action} | `{change.resource}` |"
    if not change.properties:
        return [f"{head} | | |"]
    return [
        f"{head if index == 0 else '| | |'} {p.name} | {_cell(p.actual)} | {_cell(p.declared)} |"
        for index, p in enumerate(change.properties)
    ]


def _cell(value: Any) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|")
    return f"`{text}`" if text else ""
