"""Removing what is over: with credentials that hosts do not have, and that are brought for it.

The stores refuse what is locked, whoever asks. What is removed is decided from catalogues that agree in
every region: a hold or a newer entry that one of them lost would count as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from yiyun_backup import repository as restic
from yiyun_backup.bases import alone
from yiyun_backup.catalogue import Base, Pruned, Snapshot
from yiyun_backup.checking import expected, newest, seen_marks, short_of
from yiyun_backup.config import BASES
from yiyun_backup.errors import BackupError, DamageError, RefusedError
from yiyun_backup.journal import read_all
from yiyun_backup.needs import first_needed, needs_in
from yiyun_backup.reading import Reader, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.journal import Found
    from yiyun_backup.needs import Needs
    from yiyun_backup.store import Item, Store


@dataclass
class Removed:
    """What a run removed, or would remove (`dry_run`)."""

    dry_run: bool
    entries: list[str] = field(default_factory=list[str])
    held: list[str] = field(default_factory=list[str])
    segments: dict[str, int] = field(default_factory=dict[str, int])
    """Region and stream → how many of the oldest."""
    versions: int = 0
    """Of segments, and of what was hidden in repositories."""
    bytes: int = 0
    locked: int = 0
    """What is not needed, and whose time is not over."""
    problems: list[str] = field(default_factory=list[str])


def prune(config: Config, progress: Callable[[str, float], None], *, dry_run: bool) -> Removed:
    """Remove what is over in every region. Raises RefusedError when the catalogues do not agree."""
    began = datetime.now(UTC)
    with alone(config, "pruning"):
        found = _agreed(config)
        needs = needs_in(found.entries, config.keep, began, [r.name for r in config.regions])
        done = Removed(dry_run, [e.id for e in needs.over], sorted(needs.held))
        stores, failed = config.stores(), set[str]()
        for store in stores:
            progress(f"prune {store.name}", 0.0)
            here = _repositories(config, store, found.every(), needs, done)
            failed |= here
            if BASES not in here:
                _log(config, store, needs, done)
        gone = tuple(e.id for e in needs.over if _repository_of(e) not in failed)
        if gone and not dry_run:
            keep = timedelta(days=config.keep.catalogue)
            done.problems += config.journal.add(Pruned(of=gone), began, stores, keep)[1]
    return done


def _agreed(config: Config) -> Found:
    """The catalogues, whole, and the same in every region. Raises RefusedError, StoreError."""
    hint = "nothing was removed: yiyun-backup check"
    stores = config.stores()
    regions = [read_all(store, config.keys_of) for store in stores]
    known = seen_marks(config)
    for found in regions:
        known = newest(known, found.marks)
    for store, found in zip(stores, regions, strict=True):
        if found.problems:
            raise RefusedError(f"the catalogue is not whole: {found.problems[0]}", hint)
        for error in short_of(known, found, store.name):
            raise RefusedError(error.message, hint) from error
    return regions[0]


def _repository_of(entry: Entry) -> str:
    return entry.body.repository if isinstance(entry.body, Base | Snapshot) else ""


def _repositories(
    config: Config, store: Store, entries: Sequence[Entry], needs: Needs, done: Removed
) -> set[str]:
    """Snapshots that are over; then whatever is hidden, and no longer locked. Returns names that failed."""
    over, failed = {entry.id for entry in needs.over}, set[str]()
    for name in sorted({_repository_of(entry) for entry in (*needs.over, *needs.kept)}):
        wanted = expected(entries, name, store.name)
        try:
            if gone := [snapshot for entry, snapshot in wanted.items() if entry in over]:
                repository = config.repository(name, store.name)
                left = {snapshot for snapshot in wanted.values() if snapshot not in gone}
                if lost := left - restic.snapshots(repository).keys():
                    raise DamageError("missing", f"{len(lost)} snapshot(s) that are to stay are not there")
                if not done.dry_run:
                    restic.forget(repository, gone)
            hidden = _hidden(store, f"restic/{name}/")
            if not done.dry_run and any("/locks/" not in key for key in hidden):
                restic.check(config.repository(name, store.name))  # nothing that it needs is hidden
            for key, versions in hidden.items():
                _remove(store, key, versions, done)
        except BackupError as error:
            failed.add(name)
            done.problems.append(f"{store.name}: {name}: {error}")
    return failed


def _hidden(store: Store, prefix: str) -> dict[str, list[Item]]:
    """Objects whose newest version is a marker, with every version and marker; the markers last."""
    found: dict[str, list[Item]] = {}
    for item in store.versions(prefix):
        found.setdefault(item.key, []).append(item)
    gone = {k: them for k, them in found.items() if any(item.newest and item.marker for item in them)}
    return {key: sorted(them, key=lambda item: item.marker) for key, them in gone.items()}


def _remove(store: Store, key: str, versions: Sequence[Item], done: Removed) -> bool:
    """Remove all versions of an object, none while any is locked. Returns whether they are gone."""
    now = datetime.now(UTC)
    for item in versions:
        until = None if item.marker else store.kept_until(key, item.version)
        if until is not None and until > now:
            done.locked += 1
            return False
    for item in versions:
        if not done.dry_run:
            store.remove(key, item.version)
        done.bytes += item.size
    done.versions += len(versions)
    return True


def _log(config: Config, store: Store, needs: Needs, done: Removed) -> None:
    """The oldest segments that no base needs, up to the first that is locked: the log stays in one piece."""
    for stream in streams(store):
        prefix = f"log/{stream}/"
        try:
            first = first_needed(Reader(store, stream, config.keys_of(stream)), needs.bases)
            old: dict[str, list[Item]] = {}
            for item in store.versions(prefix) if first else ():
                name = item.key.removeprefix(prefix)
                if name.isdecimal() and int(name) < first:
                    old.setdefault(item.key, []).append(item)
            count = 0
            for key in sorted(old):
                if not _remove(store, key, old[key], done):
                    break
                count += 1
            done.segments[f"{store.name}/{stream}"] = count
        except BackupError as error:
            done.problems.append(f"{store.name}: {stream}: {error}")


def fields_of(done: Removed) -> dict[str, Any]:
    """As JSON."""
    return dict(vars(done))
