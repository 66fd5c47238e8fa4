"""Keeping what is needed for as long as it is needed: retention is extended, and never shortened.

A new snapshot leans on data that an old one brought, whose lock ends first (the deduplication trap of
repositories under object lock). So each run extends everything that is still part of the repository, the
catalogue, and the log from the oldest base on that is needed or held; what was left out of a run is left to
end.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from yiyun_backup import deposits
from yiyun_backup.bases import bases_in
from yiyun_backup.errors import BackupError
from yiyun_backup.journal import read_all
from yiyun_backup.needs import first_needed, needs_in
from yiyun_backup.reading import Reader, streams
from yiyun_backup.segments import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yiyun_backup.config import Config
    from yiyun_backup.store import Store

AT_ONCE = 8
SLACK = 0.75
"""An object is extended when less than so much of its time is left, so that most runs extend little."""


@dataclass
class Kept:
    """What a run did in a region."""

    region: str
    looked_at: int = 0
    extended: int = 0
    problems: list[str] = field(default_factory=list[str])


def keep(config: Config, region: str, progress: Callable[[str, float], None]) -> Kept:
    """Extend what is needed in a region. Raises StoreError when it cannot be asked."""
    store = config.store(region)
    kept = Kept(store.name)
    wanted = list(needed(config, store))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, outcome in enumerate(pool.map(partial(_extend, store), wanted), 1):
            kept.looked_at += 1
            kept.extended += outcome is True
            if isinstance(outcome, str):
                kept.problems.append(outcome)
            progress("keep", number / len(wanted))
    return kept


def needed(config: Config, store: Store) -> Iterator[tuple[str, timedelta]]:
    """Names of objects, and how long each is to be kept from now."""
    days = config.keep
    for item in store.list("restic/"):
        repository, _, part = item.key.removeprefix("restic/").partition("/")
        if not part.startswith("locks/"):
            yield item.key, config.kept_for(repository)
    for item in store.list("catalogue/"):
        yield item.key, timedelta(days=days.catalogue)
    found = read_all(store, config.keys_of)
    needs = needs_in(found.entries, days, datetime.now(UTC), [store.name])
    for key in deposits.needed(store, found.every()):
        yield key, timedelta(days=days.catalogue)
    # A hold may be in an entry that cannot be read: then nothing counts as over.
    bases = bases_in(found.every()) if found.problems else needs.bases
    for stream in streams(store) if bases else ():
        reader = Reader(store, stream, config.keys_of(stream))
        first = first_needed(reader, bases)
        for seq in (seq for run in reader.runs() for seq in run if seq >= first):
            yield key_of(stream, seq), timedelta(days=days.log)


def _extend(store: Store, wanted: tuple[str, timedelta]) -> bool | str:
    """Whether it was extended; a sentence when it could not be."""
    key, time = wanted
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        until = store.kept_until(key)
        if until is not None and until - now > time * SLACK:
            return False
        store.extend(key, now + time)
    except BackupError as error:
        return str(error)
    return True


def try_to_remove(config: Config) -> dict[str, Any]:
    """Try to hide, remove and shorten this host's newest entry in each region. What was done is a defect."""
    tried: list[str] = []
    done: list[str] = []
    for region in config.regions:
        store = config.store(region.name)
        newest = list(store.versions(f"catalogue/{config.host}/"))[-1:]
        for item in newest:
            soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
            attempts = {
                "hide": lambda item=item, store=store: store.remove(item.key),
                "remove": lambda item=item, store=store: store.remove(item.key, item.version),
                "shorten": lambda item=item, store=store, soon=soon: store.extend(
                    item.key, soon, item.version
                ),
            }
            for name, attempt in attempts.items():
                tried.append(f"{region.name}: {name}")
                with suppress(BackupError):
                    attempt()
                    done.append(tried[-1])
    return {"tried": tried, "done": done, "ok": not done}


def fields_of(kept: Kept) -> dict[str, Any]:
    """As JSON."""
    return dict(vars(kept))
