"""One table as it was at a moment: restored with all others on a server that is thrown away, and dumped."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

from yiyun_backup.errors import BackupError, BadInputError
from yiyun_backup.recover import recover
from yiyun_backup.throwaway import target_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyrage import x25519

    from yiyun_backup.config import Config
    from yiyun_backup.moment import Moment
    from yiyun_backup.restore import Way
    from yiyun_backup.server import Server

NAME = re.compile(r"(\w{1,64})\.(\w{1,64})")
HOW = ("--single-transaction", "--set-gtid-purged=OFF", "--hex-blob", "--skip-add-drop-table", "--tz-utc")
"""It replaces nothing where it is read in: a table that is there is an error, not a loss."""


def dump_then(
    config: Config,
    region: str,
    moment: Moment,
    folder: Path,
    opened_by: Sequence[x25519.Identity],
    way: Way,
    table: str,
    to: Path,
) -> dict[str, Any]:
    """Restore, dump the table to a new file, remove the rest. Raises BadInputError, BackupError."""
    if not (named := NAME.fullmatch(table)):
        raise BadInputError(f"no name of a table: {table}", "SCHEMA.TABLE")
    if to.exists():
        raise BadInputError(f"{to} is there already", "name another file")
    schema, name = named.groups()
    with target_in(folder) as target:
        done = recover(config, region, moment, target, opened_by, way)
        with way.serving(target) as server:
            rows = _rows(server, schema, name)
            _dump(server, schema, name, to)
    return {
        "moment": done.moment,
        "region": done.region,
        "table": table,
        "rows": rows,
        "file": str(to),
        "bytes": to.stat().st_size,
        "gtids": done.gtids,
        "phases": done.phases_told(),
        "warnings": done.warnings,
    }


def _rows(server: Server, schema: str, table: str) -> int:
    known = "SELECT 1 FROM information_schema.tables WHERE table_schema = '{}' AND table_name = '{}'"
    if not server.ask(known.format(schema, table)):
        raise BadInputError(f"there was no table {schema}.{table} then")
    count = f"SELECT COUNT(*) FROM `{schema}`.`{table}`"  # noqa: S608  both are plain words
    return int(server.ask(count)[0][0])


def _dump(server: Server, schema: str, table: str, to: Path) -> None:
    """Into a file of its own, whole or not at all."""
    to.parent.mkdir(parents=True, exist_ok=True)
    half = to.with_name(f"{to.name}.half")
    argv = ["mysqldump", f"--socket={server.socket}", f"--user={server.account}", *HOW, schema, table]
    try:
        with half.open("wb") as stream:
            done = subprocess.run(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                env={**os.environ, "MYSQL_PWD": server.password},
                stdout=stream,
                stderr=subprocess.PIPE,
                check=False,
            )
        if done.returncode != 0:
            words = " ".join(done.stderr.decode(errors="replace").split())[-300:]
            raise BackupError(f"{schema}.{table} could not be dumped: {words}")
        half.replace(to)
    finally:
        half.unlink(missing_ok=True)
