"""When a secret of a kind is due: data with its source (policy.yaml), and pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from ruamel.yaml import YAML


@dataclass(frozen=True)
class Rule:
    """How long a secret may stay. Days; `wait` in hours; None: no such limit."""

    source: str
    effective: str
    days: int | None = None
    remaining: int | None = None
    alarm: int | None = None
    wait: int = 0

    def due(self, since: datetime | None, not_after: datetime | None) -> datetime | None:
        """The earliest moment at which it should be replaced. `since` unknown: at once."""
        moments: list[datetime] = []
        if self.days is not None:
            moments.append((since or datetime.fromtimestamp(0, UTC)) + timedelta(self.days))
        if self.remaining is not None and not_after is not None:
            moments.append(not_after - timedelta(self.remaining))
        return min(moments, default=None)


@cache
def rules() -> dict[str, Rule]:
    """The rule of every kind."""
    text = resources.files("infra.rotation").joinpath("policy.yaml").read_text(encoding="utf-8")
    kinds: dict[str, dict[str, Any]] = YAML(typ="safe").load(text)["kinds"]
    return {kind: Rule(effective=str(raw.pop("effective")), **raw) for kind, raw in kinds.items()}


def rule_of(kind: str) -> Rule:
    """The rule of a kind; a kind without one of its own has that of `other`."""
    return rules().get(kind, rules()["other"])
