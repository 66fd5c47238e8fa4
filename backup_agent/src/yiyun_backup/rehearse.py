"""A restore that nobody has to ask for: from one region alone, compared with what the source held.

The target is thrown away; what stays is the entry in the catalogue, also of one that failed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pymysql

from yiyun_backup import compare
from yiyun_backup.bases import alone
from yiyun_backup.catalogue import Summed, Tested
from yiyun_backup.errors import BackupError
from yiyun_backup.gtids import GtidSet
from yiyun_backup.moment import Moment
from yiyun_backup.recover import recover
from yiyun_backup.sums import newest_sums
from yiyun_backup.throwaway import target_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyrage import x25519

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.restore import Restored, Way


@dataclass(frozen=True)
class Rehearsed:
    """How it went."""

    entry: Entry
    body: Tested
    restored: Restored | None
    problems: list[str]


def rehearse(
    config: Config, region: str, folder: Path, opened_by: Sequence[x25519.Identity], way: Way
) -> Rehearsed:
    """Restore to the set of the newest reading of the source, and compare every table.

    Raises BackupError only where nothing could be tried: no reading, another backup at work.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    store = config.store(region)
    wanted = newest_sums(config, store)
    if wanted is None or not isinstance(wanted.body, Summed):
        raise BackupError(
            f"{store.name}: no reading of a source to compare with", "yiyun-backup sum, on a database host"
        )
    restored: Restored | None = None
    with alone(config, "a restore test"), target_in(folder) as target:
        try:
            moment = Moment(gtids=GtidSet.parse(wanted.body.gtids))
            restored = recover(config, region, moment, target, opened_by, way)
            with way.serving(target) as server:
                held = compare.tables(server.connect, lambda table: way.progress(f"compare {table}", 0.0))
            problems = compare.differences(wanted.body.tables, held)
        except (BackupError, pymysql.MySQLError) as error:
            problems = [str(error)]
        body = Tested(
            of=wanted.id,
            region=store.name,
            ok=not problems,
            seconds=round(time.monotonic() - clock, 1),
            compared=f"{len(wanted.body.tables)} tables of {wanted.body.member}, every row, at the same set",
            problem="; ".join(problems)[:2000],
        )
        keep = timedelta(days=config.keep.catalogue)
        entry, unsent = config.journal.add(body, began, config.stores(), keep)
    return Rehearsed(entry, body, restored, problems + unsent)


def fields_of(done: Rehearsed) -> dict[str, Any]:
    """As JSON."""
    restored = done.restored
    return {
        "id": done.entry.id,
        **done.body.model_dump(mode="json", exclude={"kind"}),
        "transactions": restored.transactions if restored else 0,
        "phases": restored.phases_told() if restored else [],
        "problems": done.problems,
        "warnings": restored.warnings if restored else [],
    }
