"""A base: a physical copy of a member by the CLONE plugin, which counts once a server has run on it.

The donor says nothing of the copy's place in the log; only a server started on the copy does (measured).
"""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pymysql

from yiyun_backup.catalogue import Base
from yiyun_backup.errors import BackupError, RefusedError
from yiyun_backup.restore import DATA
from yiyun_backup.server import serving
from yiyun_backup.source import Source, connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOM = 1.15
"""Times the member's data: what must be free for the copy."""


@dataclass(frozen=True)
class Copied:
    """A copy on this host's disk, and what the server on it said."""

    folder: Path
    source: str
    version: str
    lower_case_table_names: int
    gtids: str
    tables: int
    bytes: int
    seconds: float


def copy_member(
    source: Source, folder: Path, program: Path, user: str, progress: Callable[[str, float], None]
) -> Copied:
    """Copy the member of this host into `folder`/data, and start a server on it. Raises BackupError."""
    began = time.monotonic()
    _must_fit(source, folder)
    data = folder / DATA
    shutil.rmtree(data, ignore_errors=True)
    progress("clone", 0.0)
    try:
        with closing(connect(source)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@server_uuid, @@GLOBAL.clone_block_ddl")
            uuid, holds_ddl = cursor.fetchone()
            if not holds_ddl:
                raise RefusedError(f"clone_block_ddl is OFF on {source.member}", "set it to ON for good")
            cursor.execute("CLONE LOCAL DATA DIRECTORY = %s", (str(data),))
    except (pymysql.MySQLError, OSError) as error:
        shutil.rmtree(data, ignore_errors=True)
        raise BackupError(f"{source.member} could not be copied: {error}") from error
    progress("start", 0.0)
    try:
        version, case, gtids, tables = _read(program, data, user)
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)  # as large as the database, on the disk that it writes to
        raise
    (data / "auto.cnf").unlink(missing_ok=True)
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    compact = "".join(gtids.split())
    return Copied(data, uuid, version, case, compact, tables, size, time.monotonic() - began)


def _read(program: Path, data: Path, user: str) -> tuple[str, int, str, int]:
    """What a server says that was started on the copy. Raises BackupError."""
    try:
        with serving(program, data, user=user) as server:
            version, case, gtids = server.ask(
                "SELECT @@version, @@lower_case_table_names, @@GLOBAL.gtid_executed"
            )[0]
            ((tables,),) = server.ask(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
            )
    except pymysql.MySQLError as error:
        raise BackupError(f"the server on the copy ended: {error}") from error
    return version, int(case), gtids, int(tables)


def entry_of(copied: Copied, member: str, repository: str, snapshots: dict[str, str]) -> Base:
    """The copy as the catalogue has it. Pure."""
    return Base(
        member=member,
        source=copied.source,
        version=copied.version,
        lower_case_table_names=copied.lower_case_table_names,
        gtids=copied.gtids,
        tables=copied.tables,
        bytes=copied.bytes,
        repository=repository,
        snapshots=snapshots,
    )


def _must_fit(source: Source, folder: Path) -> None:
    try:
        with closing(connect(source)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COALESCE(SUM(file_size), 0) FROM information_schema.innodb_tablespaces")
            size = int(cursor.fetchone()[0])
    except (pymysql.MySQLError, OSError) as error:
        raise BackupError(f"{source.member} does not answer: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size * ROOM:
        text = f"{folder} has {free >> 20} MiB free, the copy needs {int(size * ROOM) >> 20}"
        raise RefusedError(text, "make room, or name another folder")
