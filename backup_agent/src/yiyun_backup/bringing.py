"""Files that were saved of a service on any host, brought into an empty folder."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import Snapshot, removed_in, with_copies
from yiyun_backup.errors import BadInputError, KeyMissingError
from yiyun_backup.journal import read_all
from yiyun_backup.repository import Repository, bring_back
from yiyun_backup.restore import MARK, prepare

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.progress import Progress


def bring_files(
    config: Config, region: str, host: str, service: str, password: Path, to: Path, progress: Progress
) -> dict[str, Any]:
    """The newest snapshot of a host's service, from a region alone. `password`: of the host's repository.

    The folder stays marked until everything was written and compared. Raises BadInputError when none was
    saved, RefusedError for a folder with something in it, DamageError, KeyMissingError.
    """
    if not password.exists():
        raise KeyMissingError(f"no password of the repository {host} is here: {password}")
    began, store = time.monotonic(), config.store(region)
    found = read_all(store, config.keys_of)
    entry = newest_of(found.every(), host, service, store.name)
    body = entry.body
    assert isinstance(body, Snapshot)  # noqa: S101  those alone were looked among
    repository = Repository(config.place(region), host, password, config.state / "cache")
    prepare(to, f"files of {service} on {host}")
    bring_back(repository, body.snapshots[store.name], to, partial(progress, service))
    (to / MARK).unlink()
    seconds = round(time.monotonic() - began, 3)
    told = {"id": entry.id, "taken": entry.ended.isoformat(), "files": body.files, "bytes": body.bytes}
    return told | {"region": store.name, "folder": str(to), "seconds": seconds, "warnings": found.problems}


def newest_of(entries: Iterable[Entry], host: str, service: str, region: str) -> Entry:
    """The newest snapshot of a host's service in a region. Raises BadInputError, naming what there is."""
    entries = list(entries)
    gone = removed_in(entries)
    here = [
        e
        for e in with_copies(entries)
        if isinstance(e.body, Snapshot) and region in e.body.snapshots and e.id not in gone
    ]
    mine = [e for e in here if isinstance(e.body, Snapshot) and (e.writer, e.body.service) == (host, service)]
    if not mine:
        names = sorted({f"{e.writer}/{e.body.service}" for e in here if isinstance(e.body, Snapshot)})
        raise BadInputError(
            f"{region}: nothing of {host}/{service}", f"there is: {', '.join(names) or 'nothing'}"
        )
    return max(mine, key=lambda e: e.seq)
