"""From a region alone to a database at a moment: the base and the stream that reach it are looked for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from yiyun_backup.bases import REPOSITORY, base_named, bases
from yiyun_backup.catalogue import Base
from yiyun_backup.errors import BackupError, BadInputError, DamageError
from yiyun_backup.gtids import GtidSet
from yiyun_backup.reading import Reader, streams
from yiyun_backup.restore import Restored, Way, restore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyrage import x25519

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.moment import Moment


def recover(
    config: Config,
    region: str,
    moment: Moment,
    target: Path,
    opened_by: Sequence[x25519.Identity],
    way: Way,
    base: str = "",
) -> Restored:
    """Restore the database. Each base is tried with each stream until one pair reaches the moment.

    Raises the first BackupError when none does: what is missing is in it.
    """
    store = config.store(region)
    candidates = [base_named(config, store, base)] if base else bases(config, store)
    if not candidates:
        raise BadInputError(f"{store.name}: no base is in the catalogue")
    problems: list[BackupError] = []
    for entry in candidates:
        for stream in streams(store):
            reader = Reader(store, stream, config.keys, target.parent / f"{target.name}.segments", opened_by)
            try:
                done = _one(config, region, entry, reader, moment, target, way)
            except (DamageError, BadInputError) as error:
                problems.append(error)
                continue
            done.warnings += [str(problem) for problem in problems]
            return done
    if problems:
        raise problems[0]
    raise BadInputError(f"{store.name}: no stream is stored")


def _one(
    config: Config, region: str, entry: Entry, reader: Reader, moment: Moment, target: Path, way: Way
) -> Restored:
    body = entry.body
    if not isinstance(body, Base):
        raise BadInputError(f"{entry.id} is no base")
    if moment.gtids is not None and not GtidSet.parse(body.gtids) <= moment.gtids:
        raise DamageError("base", f"{entry.id} holds transactions that the given set does not")
    repository = config.repository(REPOSITORY, region)
    return restore(body, repository, reader, moment, target, way)


def fields_of(done: Restored) -> dict[str, Any]:
    """As JSON."""
    return asdict(done) | {"phases": [{"name": n, "seconds": s} for n, s in done.phases]}
