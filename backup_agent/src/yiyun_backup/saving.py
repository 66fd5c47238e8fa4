"""What else a host has: files, and databases that are copied to files first, as each service declares."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yiyun_backup import repository as restic
from yiyun_backup.bases import alone, everywhere
from yiyun_backup.catalogue import Snapshot
from yiyun_backup.errors import BackupError

if TYPE_CHECKING:
    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config, Item
    from yiyun_backup.progress import Progress

FILES, SQLITE, DUMP = "files", "sqlite", "dump"


def save_items(config: Config, progress: Progress, only: str = "") -> tuple[list[Entry], list[str]]:
    """Save every item of this host. Returns entries, and what went wrong: one item does not stop the next."""
    entries: list[Entry] = []
    problems: list[str] = []
    with alone(config, "a backup of files"):
        config.store().must_answer()
        near = config.repository(config.host)
        time = config.kept_for(near.name)
        with restic.locking(near, time):
            restic.ensure(near)
        stores = config.stores()
        for item in config.items:
            if only not in {"", item.service}:
                continue
            began = datetime.now(UTC)
            try:
                with restic.locking(near, time):
                    saved = _save(config, near, item, progress)
            except BackupError as error:
                problems.append(f"{item.service}: {error}")
                continue
            snapshots, failed = everywhere(config, near, saved.snapshot, progress)
            problems += [f"{item.service}: {problem}" for problem in failed]
            body = Snapshot(
                service=item.service,
                way=item.way,
                files=saved.files,
                bytes=saved.bytes,
                repository=near.name,
                snapshots=snapshots,
            )
            entry, more = config.journal.add(body, began, stores, timedelta(days=config.keep.catalogue))
            entries.append(entry)
            problems += more
    return entries, problems


def _save(config: Config, near: restic.Repository, item: Item, progress: Progress) -> restic.Saved:
    def told(share: float, done: int) -> None:
        progress(item.service, share, done)

    tags = [item.service, item.way]
    if item.way == DUMP:
        return restic.save(near, [], tags, told, stdin_of=item.command, name=f"{item.service}.dump")
    paths = [path for path in item.paths if not item.optional or Path(path).exists()]
    if missing := [path for path in paths if not Path(path).exists()]:
        raise BackupError(f"{', '.join(missing)} is not there")
    if not paths:
        raise BackupError("nothing of it is there")
    if item.way == FILES:
        return restic.save(near, paths, tags, told)
    staging = config.state / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    try:
        for path in paths:
            copy_sqlite(Path(path), staging / path.lstrip("/").replace("/", "_"))
        return restic.save(near, ["."], tags, told, folder=staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def copy_sqlite(path: Path, target: Path) -> None:
    """Copy a SQLite database that is in use, and check the copy. Raises BackupError."""
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            found = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{path}: {error}") from error
    if found != ("ok",):
        raise BackupError(f"{path}: the copy is not sound: {found[0]}")


def fields_of(entries: list[Entry], problems: list[str]) -> dict[str, Any]:
    """As JSON."""
    return {
        "entries": [{"id": e.id, "body": e.body.model_dump(mode="json")} for e in entries],
        "problems": problems,
    }
