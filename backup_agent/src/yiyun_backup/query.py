"""A question to the database as it was: a restore thrown away after one statement that can change nothing."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql

from yiyun_backup.errors import BadInputError
from yiyun_backup.recover import recover
from yiyun_backup.server import Server, ServerError
from yiyun_backup.throwaway import target_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyrage import x25519

    from yiyun_backup.config import Config
    from yiyun_backup.moment import Moment
    from yiyun_backup.restore import Way

MOST_ROWS = 10_000
ONE = "one statement that reads"
READER = "yiyun_query"
"""May read and nothing else: the restored server's own accounts come back with all they were allowed."""


def ask_then(
    config: Config,
    region: str,
    moment: Moment,
    folder: Path,
    opened_by: Sequence[x25519.Identity],
    way: Way,
    statement: str,
) -> dict[str, Any]:
    """Restore, ask, remove. Raises BadInputError for a statement that the server refuses, BackupError."""
    with target_in(folder) as target:
        done = recover(config, region, moment, target, opened_by, way)
        with way.serving(target) as server:
            names, rows, more = _read(server, statement)
    return {
        "moment": done.moment,
        "base": done.base,
        "region": done.region,
        "phases": done.phases_told(),
        "columns": names,
        "rows": rows,
        "cut_off": more,
        "gtids": done.gtids,
        "warnings": done.warnings,
    }


def _connect(server: Server) -> Any:
    password = secrets.token_urlsafe(24)
    try:
        server.ask(
            f"DROP USER IF EXISTS '{READER}'@'localhost'",
            f"CREATE USER '{READER}'@'localhost' IDENTIFIED BY '{password}'",
            f"GRANT SELECT, SHOW VIEW ON *.* TO '{READER}'@'localhost'",
        )
        return server.connect(READER, password)
    except pymysql.MySQLError as error:
        raise ServerError(f"the restored server makes no account to ask with: {error}") from error


def _read(server: Server, statement: str) -> tuple[list[str], list[list[str | None]], bool]:
    with closing(_connect(server)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"SET SESSION sql_select_limit = {MOST_ROWS + 1}")
            cursor.execute("START TRANSACTION READ ONLY")
            cursor.execute(statement)
            found = cursor.fetchmany(MOST_ROWS + 1)
        except pymysql.MySQLError as error:
            raise BadInputError(f"the server refuses it: {error.args[-1]}", ONE) from error
        if cursor.description is None:
            raise BadInputError("it has no rows", ONE)
        names = [column[0] for column in cursor.description]
    rows = [[None if value is None else _text(value) for value in row] for row in found[:MOST_ROWS]]
    return names, rows, len(found) > MOST_ROWS


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
