"""What was brought from outside and is kept as it came: the estate's own state, from its operators' machine.

It must open where nothing is left but the store and a key: so it is in no repository, whose password would
be inside. Who brings it encrypts it.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import Deposit
from yiyun_backup.errors import BackupError, BadInputError, DamageError
from yiyun_backup.journal import read_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.store import Store

PREFIX = "deposit/"
MOST_BYTES = 64 << 20
"""It is held in memory."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def deposit(config: Config, name: str, data: bytes) -> dict[str, Any]:
    """Keep these bytes in every region that answers. Raises BadInputError, StoreError where none does."""
    if not NAME.fullmatch(name):
        raise BadInputError(f"no name of a deposit: {name}", "small letters, digits and dashes")
    if not 0 < len(data) <= MOST_BYTES:
        raise BadInputError(f"{len(data)} bytes: a deposit has 1 to {MOST_BYTES}")
    began, digest = datetime.now(UTC), hashlib.sha256(data).hexdigest()
    key, keep = f"{PREFIX}{name}/{digest}", timedelta(days=config.keep.catalogue)
    regions, problems = list[str](), list[BackupError]()
    stores = config.stores()
    for store in stores:
        try:
            store.put(key, data, datetime.now(UTC).replace(microsecond=0) + keep)
            regions.append(store.name)
        except BackupError as error:
            problems.append(error)
    if not regions:
        raise problems[0]
    body = Deposit(service=name, key=key, sha256=digest, bytes=len(data), regions=tuple(regions))
    entry, unsent = config.journal.add(body, began, stores, keep)
    told = [*map(str, problems), *unsent]
    return {"id": entry.id, "regions": regions, "bytes": len(data), "problems": told}


def newest_deposits(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The newest of each name. Pure."""
    return {e.body.service: e for e in sorted(entries, key=lambda e: e.ended) if isinstance(e.body, Deposit)}


def fetch(config: Config, region: str, name: str) -> tuple[Entry, bytes]:
    """The newest deposit of that name as it came. Raises BadInputError, DamageError, StoreError."""
    store = config.store(region)
    here = [
        e
        for e in read_all(store, config.keys_of).every()
        if isinstance(e.body, Deposit) and store.name in e.body.regions
    ]
    entry = newest_deposits(here).get(name)
    if entry is None:
        names = ", ".join(sorted(newest_deposits(here)))
        raise BadInputError(f"{store.name}: no deposit {name}", f"there are: {names or 'none'}")
    body = entry.body
    assert isinstance(body, Deposit)  # noqa: S101  those alone were looked among
    return entry, _whole(store, body)


def damaged(store: Store, entries: Iterable[Entry]) -> Iterator[str]:
    """What is wrong with a region's newest deposits, in sentences."""
    here = [e for e in entries if isinstance(e.body, Deposit) and store.name in e.body.regions]
    for entry in newest_deposits(here).values():
        try:
            if isinstance(body := entry.body, Deposit):
                _right(store, body)
        except DamageError as error:
            yield str(error)


def needed(store: Store, entries: Iterable[Entry]) -> list[str]:
    """Names of the objects that are kept longer: the newest of each."""
    newest = newest_deposits(entries).values()
    return [b.key for e in newest if isinstance(b := e.body, Deposit) and store.name in b.regions]


def _whole(store: Store, body: Deposit) -> bytes:
    """Its bytes: of the newest version, else of the older one that somebody wrote over or hid."""
    try:
        return _right(store, body)
    except DamageError:
        for item in store.versions(body.key):
            if item.key == body.key and not item.marker:
                with suppress(DamageError):
                    return _right(store, body, item.version)
        raise


def _right(store: Store, body: Deposit, version: str = "") -> bytes:
    data = store.get(body.key, version=version)
    if hashlib.sha256(data).hexdigest() != body.sha256:
        text = f"{store.name}: {body.key} has other bytes than were brought"
        raise DamageError("hash", text, "use the copy in the other region")
    return data
