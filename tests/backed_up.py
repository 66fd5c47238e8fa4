"""What hosts say of their backups when all is well."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from infra.estate.backups import AGENT_WAYS, items_of, stores_of

if TYPE_CHECKING:
    from datetime import datetime

    from infra.estate.model import Estate


def entry(estate: Estate, now: datetime, hours: float, **more: Any) -> dict[str, Any]:
    """An entry of a summary, that many hours old."""
    snapshots = {region: "s" for region, _ in stores_of(estate)}
    ended = (now - timedelta(hours=hours)).isoformat()
    return {"id": "x.1", "ended": ended, "bytes": 5, "snapshots": snapshots, **more}


def add_backups(facts: dict[str, dict[str, Any]], estate: Estate, now: datetime) -> None:
    """Everything saved, one base, one stream, one restore."""
    regions = [region for region, _ in stores_of(estate)]
    for host in estate.hosts:
        items = [i for i in items_of(host) if i.save.way in AGENT_WAYS]
        facts[host.name]["backup"] = {f"snapshot {i.service}": entry(estate, now, 10) for i in items}
    facts["db-3"]["backup"]["base"] = entry(estate, now, 9)
    told = {region: {"behind_s": 1.5, "stored": 1, "problem": ""} for region in regions}
    facts["db-1"]["backup_log"] = {"source": "db-1", "regions": told}
    tested = {"region": regions[-1], "ok": True, "seconds": 9.0, "compared": "all", "problem": ""}
    facts["ops-1"]["backup"]["tested"] = entry(estate, now, 100, **tested)
