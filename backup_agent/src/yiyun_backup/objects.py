"""A bucket's objects: whether the copy far away has them all, and one of them as it was at a moment.

No host can delete a version, so what was written over or hidden is still there, by its time.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import Objects
from yiyun_backup.errors import BadInputError
from yiyun_backup.files import write_whole
from yiyun_backup.store import as_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from yiyun_backup.config import Config
    from yiyun_backup.store import Item

LATE = timedelta(minutes=15)
"""Copies are made each minute; a large object and a store that was away for a while included."""
NAMED = 5


def compare(config: Config, now: datetime) -> Iterator[tuple[Objects, list[str]]]:
    """Each copy that is read from here beside its original, and what it lacks, in sentences.

    Raises BackupError where a store cannot be asked.
    """
    for bucket in config.buckets:
        if not bucket.copy_of:
            continue
        original = list(config.bucket(bucket.copy_of).list(""))
        copied = list(config.bucket(bucket.name).list(""))
        lacks = lacking(original, copied, now - LATE)
        body = Objects(
            service=bucket.name,
            copy_of=bucket.copy_of,
            count=len(copied),
            bytes=sum(item.size for item in copied),
            lacking=len(lacks),
        )
        more = f" and {len(lacks) - NAMED} more" if len(lacks) > NAMED else ""
        names = ", ".join(lacks[:NAMED]) + more
        yield body, [f"{bucket.name} lacks {names} of {bucket.copy_of}"] if lacks else []


def lacking(original: Iterable[Item], copied: Iterable[Item], since: datetime) -> list[str]:
    """Names that the original had before a time, and the copy has not, or with another size. Pure."""
    there = {item.key: item.size for item in copied}
    return [i.key for i in original if i.modified < since and there.get(i.key) != i.size]


def note(config: Config, progress: Any) -> list[str]:
    """Compare, and write into the catalogue what was found. Returns what is wrong, in sentences."""
    problems: list[str] = []
    keep = timedelta(days=config.keep.catalogue)
    began = datetime.now(UTC)
    progress("buckets", 0.0)
    for body, wrong in compare(config, began):
        problems += wrong + config.journal.add(body, began, config.stores(), keep)[1]
    return problems


def bring_back(config: Config, name: str, key: str, at: datetime | None, to: Path) -> dict[str, Any]:
    """Write an object as it was at a time into a new file. Raises BadInputError, BackupError."""
    store = config.bucket(name)
    if to.exists():
        raise BadInputError(f"{to} is there already", "name another file")
    versions = list(store.versions(key))
    found = as_of((item for item in versions if item.key == key), at)
    if found is None:
        times = sorted(i.modified for i in versions if i.key == key)
        there = f"it is there from {times[0].isoformat()} on" if times else "no version of it is there"
        raise BadInputError(f"{name} had no {key} then", there)
    data = store.get(key, version=found.version)
    to.parent.mkdir(parents=True, exist_ok=True)
    write_whole(to, data)
    digest = hashlib.sha256(data).hexdigest()
    told = {"bucket": name, "key": key, "version": found.version, "written": found.modified.isoformat()}
    return told | {"bytes": len(data), "sha256": digest, "file": str(to)}
