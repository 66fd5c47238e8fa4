"""How late the log was in a region: from each segment's oldest commit until the store had the segment.

By the signed manifests and the store's own times, not by what a stream says of itself. `read_lags` is sent as
text to the host that restores, and uses the agent that is installed there.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from runbooks.drills.evidence.timing import quantile
from tests.on_host import answer_of

if TYPE_CHECKING:
    from infra.paths import EstatePaths

BUDGET_P99_S = 5.0
"""Of the design: the far region's log under load, for an hour."""


def read_lags(region: str, began: float, ended: float) -> dict[str, list[float]]:
    """Stream → seconds from oldest commit to stored, of each segment that was cut between two times."""
    from pathlib import Path

    from yiyun_backup.config import Config
    from yiyun_backup.reading import Reader, streams
    from yiyun_backup.store import Store

    config = Config.read(Path("/etc/yiyun-backup/backup.toml"))
    store = Store(config.place(region))
    found: dict[str, list[float]] = {}
    for stream in streams(store):
        reader = Reader(store, stream, config.keys_of(stream))
        items = [i for i in store.versions(f"log/{stream}/") if began <= i.modified.timestamp() <= ended]
        opened = reader.manifests([int(item.key.rpartition("/")[2]) for item in items])
        found[stream] = [
            item.modified.timestamp() - int(one.document.first_us) / 1e6
            for item, one in zip(items, opened, strict=True)
            if one.document.transactions
        ]
    return found


def lags(paths: EstatePaths, host: str, region: str, began: float, ended: float) -> dict[str, Any]:
    """Stream → figures of its segments that were stored between two times (seconds since 1970)."""
    call = f"read_lags({region!r}, {began!r}, {ended!r})"
    found = answer_of(paths, host, inspect.getsource(read_lags), call)
    return {stream: figures(ages) for stream, ages in found.items() if ages}


def figures(ages: list[float]) -> dict[str, Any]:
    """How late, in seconds. Raises ValueError of none. Pure."""
    return {
        "segments": len(ages),
        "p50_s": round(quantile(ages, 0.5), 2),
        "p99_s": round(quantile(ages, 0.99), 2),
        "most_s": round(max(ages), 2),
    }
