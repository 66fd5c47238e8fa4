"""Taking a base, from the member's disk to both regions and into the catalogue."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from yiyun_backup import repository
from yiyun_backup.base import copy_member, entry_of
from yiyun_backup.catalogue import Base, Entry, removed_in, with_copies
from yiyun_backup.config import BASES
from yiyun_backup.errors import BackupError, BadInputError, RefusedError
from yiyun_backup.journal import read_all
from yiyun_backup.restore import DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from yiyun_backup.config import Config
    from yiyun_backup.progress import Progress


@dataclass(frozen=True)
class Done:
    """A base that was taken, and what went wrong all the same, in sentences."""

    entry: Entry
    seconds: float
    added: int
    problems: list[str]


@contextmanager
def alone(config: Config, what: str) -> Generator[None]:
    """One backup at a time on a host. Raises RefusedError, naming what runs."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    note = config.state / "running"
    lock = FileLock(config.state / "lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        running = note.read_text(encoding="utf-8") if note.exists() else "another backup"
        raise RefusedError(f"{running} is running on this host", "wait until it has ended") from error
    try:
        note.write_text(what, encoding="utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def everywhere(
    config: Config, near: repository.Repository, snapshot: str, progress: Callable[[str, float], None]
) -> tuple[dict[str, str], list[str]]:
    """Copy a snapshot to the other regions. Returns region → id there, and what went wrong, in sentences."""
    snapshots, problems = {near.place.region: snapshot}, list[str]()
    for region in config.regions[1:]:
        progress(f"copy to {region.name}", 0.0)
        try:
            snapshots[region.name] = copy_to(config, near, region.name, snapshot)
        except BackupError as error:
            problems.append(str(error))
    return snapshots, problems


def copy_to(config: Config, near: repository.Repository, region: str, snapshot: str) -> str:
    """Copy a snapshot to a region that answers. Returns its id there. Raises BackupError."""
    config.store(region).must_answer()
    target = config.repository(near.name, region)
    with repository.locking(target, config.kept_for(target.name)):
        return repository.copy(near, target, snapshot)


def take_base(config: Config, progress: Progress) -> Done:
    """Take a base of this host's member. Raises BackupError; nothing is in the catalogue then."""
    began = datetime.now(UTC)
    own = config.sources()[0]
    staging = config.mysql.staging
    with alone(config, "a base"):
        config.store().must_answer()
        copied = copy_member(own, staging, config.mysql.program, config.mysql.owner, progress)
        try:
            near = config.repository(BASES)
            with repository.locking(near, config.kept_for(near.name)):
                repository.ensure(near)
                saved = repository.save(
                    near, [DATA], ["base"], lambda share, done: progress("save", share, done), folder=staging
                )
            snapshots, problems = everywhere(config, near, saved.snapshot, progress)
        finally:
            shutil.rmtree(copied.folder, ignore_errors=True)
        body = entry_of(copied, own.member, near.name, snapshots)
        entry, more = config.journal.add(body, began, config.stores(), timedelta(days=config.keep.catalogue))
    return Done(entry, (datetime.now(UTC) - began).total_seconds(), saved.added, problems + more)


def bases_in(entries: Sequence[Entry]) -> list[Entry]:
    """Bases whose data was not removed, newest first. Pure."""
    removed = removed_in(entries)
    found = [e for e in with_copies(entries) if isinstance(e.body, Base) and e.id not in removed]
    return sorted(found, key=lambda e: e.ended, reverse=True)


def newest_within(config: Config, hours: float) -> Entry | None:
    """A base of some host that is no older, in the near region's catalogue."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    found = read_all(config.store(), config.keys_of).every()
    return next((e for e in bases_in(found) if e.ended > since), None)


def base_named(found: Sequence[Entry], name: str) -> Entry:
    """The base of that id. Raises BadInputError, naming those there are."""
    for entry in found:
        if entry.id == name:
            return entry
    raise BadInputError(f"no base {name}", f"there are: {', '.join(e.id for e in found[:5]) or 'none'}")


def fields_of(done: Done) -> dict[str, Any]:
    """As JSON."""
    return {
        "id": done.entry.id,
        "seconds": round(done.seconds, 3),
        "added_bytes": done.added,
        "problems": done.problems,
        "body": done.entry.body.model_dump(mode="json"),
    }
