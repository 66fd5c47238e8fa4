"""A database as it was at a moment: the base, then the log through the server's own applier, to equal sets.

The target stays marked as unfinished until the set that was computed beforehand is the set that it holds; a
server that stops short, or skips what is missing, reports no error by itself (measured).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pymysql

from yiyun_backup.errors import BackupError, BadInputError, DamageError, RefusedError
from yiyun_backup.files import write_whole
from yiyun_backup.gtids import GtidSet
from yiyun_backup.moment import MICRO, Moment, must_reach, wanted
from yiyun_backup.relay import NAME as RELAY
from yiyun_backup.relay import compose
from yiyun_backup.repository import Repository, bring_back
from yiyun_backup.server import Server, ServerError, serving

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from yiyun_backup.catalogue import Base
    from yiyun_backup.progress import Progress
    from yiyun_backup.reading import Reader
    from yiyun_backup.segments import Segment

MARK = ".yiyun-unfinished"
STALLED_SECONDS = 60.0
"""An applier that got no further for so long has stopped."""
ROOM = 1.1
"""Times the base's size: what must be free."""
DATA = "data"
"""Name of the base's folder in its snapshot."""


@dataclass
class Restored:
    """What was done. Times in seconds; `gtids`: what the target holds now."""

    moment: str
    base: str
    region: str
    stream: str = ""
    segments: int = 0
    transactions: int = 0
    gtids: str = ""
    warnings: list[str] = field(default_factory=list[str])
    """What was tried before, and why it would not do."""
    phases: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    def phases_told(self) -> list[dict[str, Any]]:
        """The phases as JSON."""
        return [{"name": name, "seconds": seconds} for name, seconds in self.phases]


@dataclass(frozen=True)
class Way:
    """With what: the server's program, whom its files belong to, and who is told how far it is."""

    program: Path
    user: str
    progress: Progress
    buffer_pool_mib: int = 128

    def serving(self, data: Path) -> AbstractContextManager[Server]:
        """The server on a folder of data. Raises ServerError."""
        size = {"innodb-buffer-pool-size": f"{self.buffer_pool_mib}M"}
        return serving(self.program, data, user=self.user, options=size)


def restore(
    base: Base, repository: Repository, reader: Reader, moment: Moment, target: Path, way: Way
) -> Restored:
    """Restore into an empty folder. Raises BackupError; the target is then marked, and says why."""
    region = repository.place.region
    snapshot = base.snapshots.get(region)
    if snapshot is None:
        raise DamageError("missing", f"{region}: the copy of this base never arrived there")
    done = Restored(str(moment), snapshot, region, reader.stream)
    prepare(target, f"restore to {moment}")
    try:
        with _phase(done, way, "plan"):
            _must_fit(base, target)
            held, goal, needed = _plan(base, reader, moment, way)
            done.warnings += [str(reader.broken)] if reader.broken else []
        with _phase(done, way, "base"):
            bring_back(repository, snapshot, target, partial(_base_progress, way), f":/{DATA}")
            (target / "auto.cnf").unlink(missing_ok=True)
        with _phase(done, way, "log"):
            _compose(target, reader, needed, goal - held)
        _give(target, way.user)
        with _phase(done, way, "apply"), way.serving(target) as server:
            _must_be(server, base)
            if goal - held:
                _apply(server, goal, way)
            _must_equal(server, goal)
        for path in target.glob(f"{RELAY}.*"):
            path.unlink()
    except pymysql.MySQLError as error:
        raise ServerError(_failed(target, f"the restored server ended: {error}")) from error
    except OSError as error:
        raise BackupError(_failed(target, f"{target}: {error}")) from error
    except BackupError as error:
        _failed(target, error.message)
        raise
    done.segments, done.transactions, done.gtids = len(needed), len(goal - held), str(goal)
    (target / MARK).unlink()
    return done


def _base_progress(way: Way, share: float, done: int) -> None:
    way.progress("base", share, done)


def prepare(target: Path, what: str) -> None:
    """Take an empty folder, or one that a restore of ours left unfinished; never another.

    Raises RefusedError for a folder with anything else in it.
    """
    if target.exists() and any(target.iterdir()):
        if not (target / MARK).exists():
            raise RefusedError(f"{target} is not empty", "restores go into an empty folder only")
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    target.mkdir(parents=True, exist_ok=True, mode=0o750)
    write_whole(target / MARK, json.dumps({"unfinished": what}).encode())


def _failed(target: Path, why: str) -> str:
    """The mark says it, until the folder is used again; on a full disk it says what it said before."""
    with suppress(OSError):
        write_whole(target / MARK, json.dumps({"failed": why}).encode())
    return why


def _must_fit(base: Base, target: Path) -> None:
    free = shutil.disk_usage(target).free
    if free < base.bytes * ROOM:
        text = f"{target} has {free >> 20} MiB free, the base alone needs {int(base.bytes * ROOM) >> 20}"
        raise RefusedError(text, "make room, or name another folder")


def _plan(base: Base, reader: Reader, moment: Moment, way: Way) -> tuple[GtidSet, GtidSet, list[Segment]]:
    """What the base holds, the set to be reached, and the segments that lead there. Raises BackupError.

    Behind a broken link nothing is read: what lies before it can be proven, the newest state cannot.
    """
    held = GtidSet.parse(base.gtids)
    first = reader.start_for(held)
    _, segments = reader.chain(first, lambda n, of: way.progress("plan", n / of))
    if reader.broken and moment.is_newest:
        raise _broken(reader.broken, segments)
    try:
        goal, upto = _goal(held, segments, reader, moment)
    except (DamageError, BadInputError) as error:
        if reader.broken is None or (isinstance(error, DamageError) and error.check == "base"):
            raise
        raise _broken(reader.broken, segments) from error
    return held, goal, segments[:upto]


def _goal(held: GtidSet, segments: list[Segment], reader: Reader, moment: Moment) -> tuple[GtidSet, int]:
    found = wanted(moment, segments, reader.log)
    last = segments[found.upto - 1] if found.upto else None
    passed = GtidSet.parse(last.held) | last.set if last else held
    goal = must_reach(held, passed, found)
    if moment.gtids is not None and (lacking := moment.gtids - goal):
        raise DamageError("set", f"{len(lacking)} transaction(s) of the set are in no stored log")
    return goal, found.upto


def _broken(error: DamageError, segments: list[Segment]) -> DamageError:
    """With the next best moment."""
    hint = "another stream, or another region"
    if segments:
        until = datetime.fromtimestamp(max(int(s.last_us) for s in segments) / MICRO, UTC)
        hint += f"; here the log can be trusted until {until.isoformat()}"
    return DamageError(error.check, error.message, hint)


def _compose(target: Path, reader: Reader, segments: list[Segment], gtids: GtidSet) -> None:
    """The head of the file that the first one is in the middle of goes before it."""

    def logs() -> Any:
        if segments and not segments[0].head:
            opening = reader.manifest(segments[0].head_seq).document
            yield opening, reader.log(opening)
        for segment in segments:
            yield segment, reader.log(segment)

    compose(target, logs(), gtids)


def _must_be(server: Server, base: Base) -> None:
    version, case, executed = server.ask(
        "SELECT @@version, @@lower_case_table_names, @@GLOBAL.gtid_executed"
    )[0]
    if version != base.version:
        raise RefusedError(f"the base is of MySQL {base.version}, this server is {version}")
    if int(case) != base.lower_case_table_names:
        raise RefusedError(
            f"lower_case_table_names is {case} here, {base.lower_case_table_names} in the base"
        )
    if GtidSet.parse(executed) != GtidSet.parse(base.gtids):
        raise DamageError("base", "the base holds other transactions than the catalogue says")


def _apply(server: Server, goal: GtidSet, way: Way) -> None:
    """Let the applier work through the relay logs until the goal is reached. Raises DamageError."""
    server.ask(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='nobody.invalid', GTID_ONLY=0, SOURCE_AUTO_POSITION=0,"
        f" RELAY_LOG_FILE='{RELAY}.000001', RELAY_LOG_POS=4, REQUIRE_ROW_FORMAT=1",
        "START REPLICA SQL_THREAD",
    )
    total, left, moved = len(goal), len(goal), time.monotonic()
    while True:
        executed = GtidSet.parse(server.ask("SELECT @@GLOBAL.gtid_executed")[0][0])
        missing = len(goal - executed)
        if missing != left:
            left, moved = missing, time.monotonic()
        way.progress("apply", 1 - left / total)
        if not missing:
            break
        if problem := _problem(server):
            raise DamageError("apply", f"the applier stopped, {missing} transaction(s) short: {problem}")
        if time.monotonic() - moved > STALLED_SECONDS:
            raise DamageError("apply", f"the applier gets no further, {missing} transaction(s) short")
        time.sleep(0.1)
    server.ask("STOP REPLICA", "RESET REPLICA ALL")


def _problem(server: Server) -> str:
    try:
        rows = server.ask(
            "SELECT last_error_number, last_error_message FROM"
            " performance_schema.replication_applier_status_by_worker WHERE last_error_number <> 0"
            " UNION SELECT last_error_number, last_error_message FROM"
            " performance_schema.replication_applier_status_by_coordinator WHERE last_error_number <> 0"
        )
    except pymysql.MySQLError as error:
        return f"the server ended: {error}"
    return "; ".join(f"{number}: {text}" for number, text in rows)[:400]


def _must_equal(server: Server, goal: GtidSet) -> None:
    executed = GtidSet.parse(server.ask("SELECT @@GLOBAL.gtid_executed")[0][0])
    if executed != goal:
        more, less = executed - goal, goal - executed
        raise DamageError(
            "set", f"the restored set is not the wanted one: {len(more)} more, {len(less)} less"
        )


def _give(folder: Path, user: str) -> None:
    if not user:
        return
    shutil.chown(folder, user, user)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            shutil.chown(os.path.join(root, name), user, user)  # noqa: PTH118


class _phase:  # noqa: N801
    """Takes the time of a phase."""

    def __init__(self, done: Restored, way: Way, name: str) -> None:
        self._done, self._way, self._name = done, way, name

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._way.progress(self._name, 0.0)

    def __exit__(self, *_: object) -> None:
        self._done.phases.append((self._name, round(time.monotonic() - self._began, 3)))
