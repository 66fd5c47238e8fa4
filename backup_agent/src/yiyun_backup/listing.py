"""What a region has: every entry, until when its data is locked there, and how far the log reaches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import Base, Snapshot, removed_in, with_copies
from yiyun_backup.errors import BackupError
from yiyun_backup.journal import read_all
from yiyun_backup.needs import holds_in
from yiyun_backup.reading import Reader, streams

if TYPE_CHECKING:
    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.store import Store

AT_ONCE = 8


def listing(config: Config, region: str) -> dict[str, Any]:
    """Everything of a region as JSON. Raises StoreError when it cannot be asked."""
    store = config.store(region)
    found = read_all(store, config.keys_of)
    every = sorted(with_copies(found.every()), key=lambda e: e.ended)
    problems = list(found.problems)
    removed = removed_in(every)
    there = {e.id: e for e in every if isinstance(e.body, Base | Snapshot) and e.id not in removed}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        locked = dict(zip(there, pool.map(partial(_locked, store), there.values()), strict=True))
    log: dict[str, dict[str, str]] = {}
    for name in streams(store):
        try:
            log[name] = _reach(Reader(store, name, config.keys_of(name)))
        except BackupError as error:
            problems.append(str(error))
    return {
        "region": store.name,
        "entries": [{"id": e.id, **e.model_dump(mode="json", exclude={"prev"})} for e in every],
        "removed": sorted(removed),
        "held": sorted(holds_in(found.entries)),
        "locked_until": locked,
        "log": log,
        "problems": problems,
    }


def _locked(store: Store, entry: Entry) -> str:
    """RFC 3339; nothing where it is not locked, or not there."""
    body = entry.body
    if not isinstance(body, Base | Snapshot) or store.name not in body.snapshots:
        return ""
    try:
        until = store.kept_until(f"restic/{body.repository}/snapshots/{body.snapshots[store.name]}")
    except BackupError:
        return ""
    return until.astimezone(UTC).isoformat() if until else ""


def _reach(reader: Reader) -> dict[str, str]:
    """From when to when the log of a stream can be followed without a gap: commit times, RFC 3339."""
    numbers = reader.numbers()
    last = reader.end()
    if not numbers or last is None:
        return {"from": "", "to": ""}
    first = reader.manifest(numbers[0]).document
    return {"from": _time(first.cut_at), "to": _time(last.cut_at)}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
