"""A MySQL member as the source of a stream: what it holds, and its log as the server's own tool brings it."""

from __future__ import annotations

import subprocess
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymysql

from yiyun_backup.errors import BackupError
from yiyun_backup.gtids import GtidSet

if TYPE_CHECKING:
    from pathlib import Path

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30.0


class SourceError(BackupError):
    """The member cannot be streamed from now; another may."""

    code = "source"


@dataclass(frozen=True)
class Source:
    """Where a member is, and as whom it is asked. `options`: its client's option file, with the password."""

    member: str
    host: str
    port: int
    options: Path
    user: str = "yiyun_backup"
    authority: str = ""
    """Certificates that the server's must come from; its name must be `member`."""


@dataclass(frozen=True)
class State:
    """What a member says of itself."""

    uuid: str
    version: str
    executed: GtidSet
    purged: GtidSet
    first_log: str
    online: bool


def ask(source: Source) -> State:
    """Ask a member. Raises SourceError."""
    try:
        with closing(connect(source)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@server_uuid, @@version, @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
            uuid, version, executed, purged = cursor.fetchone()
            cursor.execute("SHOW BINARY LOGS")
            first_log = cursor.fetchone()[0]
            cursor.execute(
                "SELECT COALESCE(MAX(member_state), 'NONE') FROM performance_schema.replication_group_members"
                " WHERE member_id = @@server_uuid"
            )
            state = cursor.fetchone()[0]
    except (pymysql.MySQLError, OSError) as error:
        raise SourceError(f"{source.member} does not answer: {error}") from error
    sets = GtidSet.parse(executed), GtidSet.parse(purged)
    return State(uuid, version, *sets, first_log, state in {"ONLINE", "NONE", ""})


def connect(source: Source, answer_seconds: float = ANSWER_SECONDS) -> Any:
    """A connection. Raises MySQLError, OSError."""
    tls: dict[str, Any] = {"ssl": {"ca": source.authority}} if source.authority else {}
    return pymysql.connect(
        host=source.host,
        port=source.port,
        user=source.user,
        read_default_file=str(source.options),
        connect_timeout=CONNECT_SECONDS,
        read_timeout=answer_seconds,
        autocommit=True,
        **tls,
    )


def pour(
    source: Source, state: State, held: GtidSet, folder: Path, server_id: int
) -> subprocess.Popen[bytes]:
    """Start the server's own tool, which writes the log into a folder as it grows. It dies with us.

    What the stream holds is left out: by GTID, so that any member can be the next source.
    """
    argv = [
        *("setpriv", "--pdeathsig", "KILL"),
        "mysqlbinlog",
        f"--defaults-file={source.options}",
        "--read-from-remote-source=BINLOG-DUMP-GTIDS",
        f"--host={source.host}",
        f"--port={source.port}",
        f"--user={source.user}",
        f"--connection-server-id={server_id}",
        "--raw",
        "--stop-never",
        "--verify-binlog-checksum",
        f"--result-file={folder}/",
        f"--exclude-gtids={held}",
    ]
    if source.authority:
        argv += ["--ssl-mode=VERIFY_CA", f"--ssl-ca={source.authority}"]
    log = (folder / "log").open("wb")
    return subprocess.Popen([*argv, state.first_log], stdout=log, stderr=log)
