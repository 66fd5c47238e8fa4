"""Settings of a bucket: as recorded, as the store has them, and where they differ."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra import resources as kinds

Settings: TypeAlias = dict[str, object]
Differences: TypeAlias = dict[str, tuple[object, object]]
"""Property → (declared, actual)."""


def declared_settings(bucket: kinds.Bucket, policy: dict[str, object] | None = None) -> Settings:
    """A bucket's settings as recorded. Pure. `policy`: None when only the store's own keys may enter."""
    return {
        "exists": True,
        "versioning": "Enabled" if bucket.versioned or bucket.object_lock_days else "Suspended",
        "object_lock_days": bucket.object_lock_days,
        "policy": policy,
    }


def actual_settings(ask: Callable[[str, str], tuple[int, str]], name: str) -> Settings:
    """A bucket's settings as the store has them. `ask`: method and path → HTTP status and body."""
    state, _ = ask("HEAD", f"/{name}")
    if state == 404:
        return {"exists": False}
    (versioned, version), (_, lock), (has_policy, policy) = (
        ask("GET", f"/{name}?{what}=") for what in ("versioning", "object-lock", "policy")
    )
    return {
        "exists": state == 200,
        "versioning": (_tag(version, "Status") or "Suspended") if versioned == 200 else f"HTTP {versioned}",
        "object_lock_days": int(_tag(lock, "Days") or 0),
        "policy": json.loads(policy) if has_policy == 200 else None,
    }


def compare(declared: Settings, actual: Settings) -> Differences:
    """Properties that differ; of a bucket that is not there only that. Pure."""
    if not actual["exists"]:
        return {"exists": (True, False)}
    return {n: (declared[n], actual[n]) for n in declared if declared[n] != actual[n]}


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return found.group(1) if found else ""
