"""What the database holds at a known set, read at the source: what restores to that set must be equal to."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import TYPE_CHECKING, Any

import pymysql

from yiyun_backup import compare
from yiyun_backup.catalogue import Entry, Summed
from yiyun_backup.errors import BackupError, BadInputError
from yiyun_backup.gtids import GtidSet
from yiyun_backup.journal import read_all
from yiyun_backup.source import Source, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from yiyun_backup.config import Config
    from yiyun_backup.store import Store

HELD_SECONDS, REST_SECONDS, TRIES = 0.5, 0.5, 20
"""How long commits may be held at once, and how often it is tried."""
GIVEN_UP = {1053, 1317, 2006, 2013}
"""Errors of a connection that was ended."""
LONGEST_SECONDS = 6 * 3600.0


def take_sums(config: Config, progress: Callable[[str, float], None]) -> tuple[Entry, list[str]]:
    """Read every table of this host's member, and write it into the catalogue. Raises BackupError."""
    began = datetime.now(UTC)
    body = summed(config.sources()[0], lambda table: progress(table, 0.0))
    return config.journal.add(body, began, config.stores(), timedelta(days=config.keep.catalogue))


def summed(source: Source, progress: Callable[[str], None]) -> Summed:
    """Tables of a member, and the set they are of. Raises BackupError."""
    try:
        with closing(connect(source, LONGEST_SECONDS)) as connection, connection.cursor() as cursor:
            gtids, held = _one_moment(source, cursor)
            tables = tuple(compare.read(cursor, progress))
    except (pymysql.MySQLError, OSError) as error:
        raise BackupError(f"{source.member} could not be read: {error}") from error
    return Summed(member=source.member, gtids=gtids, tables=tables, held_s=held)


def _one_moment(source: Source, reading: Any) -> tuple[str, float]:
    """Open the snapshot, and read the set that it is of. Returns it, and how long commits waited for it.

    A commit is seen by readers before its GTID is: without the lock, which another connection holds for a few
    milliseconds, the two can be of different moments (measured). The lock may wait for a statement that waits
    for a row of a transaction that waits for the lock: then it is given up, and tried again a little later.
    """
    held = 0.0
    with closing(connect(source)) as killer:
        for _ in range(TRIES):
            with closing(connect(source)) as holding:
                began = time.monotonic()
                gtids = _locked(holding, killer, reading)
                held += time.monotonic() - began
            if gtids is not None:
                return gtids, round(held, 4)
            time.sleep(REST_SECONDS)
    text = f"{source.member} is too busy: a statement was always waiting, in {TRIES} tries"
    raise BackupError(text, "at another hour, or on a member that is not written to")


def _locked(connection: Any, killer: Any, reading: Any) -> str | None:
    """The set, or None when the lock was given up: the connection is ended by the other one then."""
    watch = Timer(HELD_SECONDS, _end, (killer, connection.thread_id()))
    with connection.cursor() as holding:
        watch.start()
        try:
            holding.execute("FLUSH TABLES WITH READ LOCK")
            compare.open_snapshot(reading)
            holding.execute("SELECT @@GLOBAL.gtid_executed")
            (gtids,) = holding.fetchone()
            holding.execute("UNLOCK TABLES")
        except pymysql.MySQLError as error:
            if error.args[0] not in GIVEN_UP:
                raise
            return None
        finally:
            watch.cancel()
            watch.join()
    return "".join(gtids.split())


def _end(killer: Any, number: int) -> None:
    with suppress(pymysql.MySQLError, OSError), killer.cursor() as cursor:
        cursor.execute(f"KILL {number}")


def compared(
    config: Config, region: str, gtids: str, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """The host's member beside what its source held at a set, table by table. Changes nothing.

    Raises BadInputError when a region's catalogue has no reading of that set.
    """
    store, wanted = config.store(region), GtidSet.parse(gtids)
    found = [e for e in read_all(store, config.keys_of).every() if isinstance(e.body, Summed)]
    at = [e for e in found if isinstance(e.body, Summed) and GtidSet.parse(e.body.gtids) == wanted]
    if not at:
        raise BadInputError(f"{store.name}: no reading of that set", "yiyun-backup sum, at the source")
    entry = max(at, key=lambda e: e.ended)
    here, there = summed(config.sources()[0], lambda table: progress(table, 0.0)), entry.body
    assert isinstance(there, Summed)  # noqa: S101  those alone were looked among
    tables = [
        {"table": f"{t.schema_name}.{t.name}", "rows": t.rows, "checksum": t.checksum} for t in there.tables
    ]
    held = GtidSet.parse(here.gtids)
    return {
        "of": entry.id,
        "read": entry.ended.isoformat(),
        "source": tables,
        "tables": [
            {"table": f"{t.schema_name}.{t.name}", "rows": t.rows, "checksum": t.checksum}
            for t in here.tables
        ],
        "lacking": len(wanted - held),
        "more": len(held - wanted),
        "problems": compare.differences(there.tables, here.tables)
        + ([f"{len(wanted - held)} transaction(s) are not here"] if wanted - held else []),
    }


def newest_sums(config: Config, store: Store) -> Entry | None:
    """The newest such reading in a region's catalogue."""
    found = [e for e in read_all(store, config.keys_of).every() if isinstance(e.body, Summed)]
    return max(found, key=lambda e: e.ended, default=None)
