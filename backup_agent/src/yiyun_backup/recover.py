"""From a region alone to a database at a moment: the base and the stream that reach it are looked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from yiyun_backup.bases import base_named, bases_in
from yiyun_backup.catalogue import Base
from yiyun_backup.config import BASES
from yiyun_backup.errors import BackupError, BadInputError, DamageError, KeyMissingError
from yiyun_backup.gtids import GtidSet
from yiyun_backup.journal import read_all
from yiyun_backup.reading import Reader, streams
from yiyun_backup.restore import Restored, Way, restore
from yiyun_backup.server import ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyrage import x25519

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.moment import Moment

LATE_US = 60_000_000
"""Streams of a group that works end within seconds of each other."""


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

    What is damaged is left out, and said: a restore counts by the set that it ends with. Raises the
    BackupError that tells most when no pair will do.
    """
    store = config.store(region)
    found = read_all(store, config.keys_of)
    candidates = bases_in(found.every())
    if base:
        candidates = [base_named(candidates, base)]
    if not candidates:
        raise BadInputError(f"{store.name}: no base is in the catalogue", "; ".join(found.problems)[:500])
    folder = target.parent / f"{target.name}.segments"
    readers = [Reader(store, s, config.keys_of(s), folder, opened_by) for s in streams(store)]
    if not readers:
        raise BadInputError(f"{store.name}: no stream is stored")
    ends, warnings = furthest_first(readers, moment)
    errors: list[BackupError] = []
    for entry in candidates:
        for reader in (end.reader for end in ends):
            try:
                done = _one(config, region, entry, reader, moment, target, way)
            except (DamageError, BadInputError, ServerError) as error:
                errors.append(error)
                continue
            except KeyMissingError as error:
                raise _which(error, config, opened_by) from error
            said = [*found.problems, *warnings, *done.warnings, *reader.missing, *map(str, errors)]
            done.warnings = list(dict.fromkeys([*said, *_more_elsewhere(ends, moment, done)]))
            return done
    raise _most_telling(errors)


@dataclass(frozen=True)
class End:
    """How far a stream goes: what it has passed, and the latest commit in its last segment (microseconds)."""

    reader: Reader
    gtids: GtidSet
    last_us: int


def furthest_first(readers: Sequence[Reader], moment: Moment) -> tuple[list[End], list[str]]:
    """Streams in the order to try them, and what is left out, in sentences.

    The newest state is never that of a stream which ended long before another one, be that one damaged.
    """
    found: list[End] = []
    for reader in readers:
        last = reader.end()
        gtids = GtidSet.parse(last.held) | last.set if last else GtidSet()
        found.append(End(reader, gtids, int(last.last_us) if last else 0))
    found.sort(key=lambda end: end.last_us, reverse=True)
    since = found[0].last_us - LATE_US
    if not moment.is_newest:
        return found, []
    late = [end for end in found if end.last_us < since]
    said = [f"{e.reader.store.name}: the stream {e.reader.stream} ends long before another one" for e in late]
    return [end for end in found if end not in late], said


def _more_elsewhere(ends: Sequence[End], moment: Moment, done: Restored) -> list[str]:
    reached = GtidSet.parse(done.gtids)
    more = {end.reader.stream: end.gtids - reached for end in ends if moment.is_newest}
    return [
        f"the stream {stream} holds {len(gtids)} transaction(s) beyond this state: {str(gtids)[:200]}"
        for stream, gtids in more.items()
        if gtids
    ]


def _most_telling(errors: Sequence[BackupError]) -> BackupError:
    """A base from after the moment is no damage where another one has some."""
    return next((e for e in errors if not (isinstance(e, DamageError) and e.check == "base")), errors[0])


def _which(error: KeyMissingError, config: Config, opened_by: Sequence[x25519.Identity]) -> KeyMissingError:
    """The keys' public halves are no secret, and tell which file is the wrong one."""
    if error.hint:
        return error
    brought = ", ".join(str(one.to_public()) for one in opened_by)
    return KeyMissingError(
        error.message,
        f"new log is encrypted to {', '.join(config.recipients)}; what was brought opens {brought}",
    )


def _one(
    config: Config, region: str, entry: Entry, reader: Reader, moment: Moment, target: Path, way: Way
) -> Restored:
    body = entry.body
    if not isinstance(body, Base):
        raise BadInputError(f"{entry.id} is no base")
    if moment.gtids is not None and not GtidSet.parse(body.gtids) <= moment.gtids:
        raise DamageError("base", f"{entry.id} holds transactions that the given set does not")
    repository = config.repository(BASES, region)
    return restore(body, repository, reader, moment, target, way)


def fields_of(done: Restored) -> dict[str, Any]:
    """As JSON."""
    return asdict(done) | {"phases": done.phases_told()}
