"""What a database holds, so that two can be compared: rows and an order-free checksum of each table.

The checksum is MySQL's own arithmetic over every column, and tells NULL from empty. Both sides must be at the
same GTID set.

HEX alone takes a number for an integer, and does not see what is behind the point (measured); a value of
many megabytes in hexadecimal is over the longest packet, and is then NULL, so that a row would not count.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import TableSum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SYSTEM = ("mysql", "sys", "information_schema", "performance_schema")
TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN %s ORDER BY 1, 2
"""
COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
LEFT_OUT = {("yiyun_probe", "proof")}
"""Written by each member for itself, all the time."""


def tables(connect: Callable[[], Any], progress: Callable[[str], None]) -> list[TableSum]:
    """Every table of users, read in full, within one snapshot."""
    with closing(connect()) as connection, connection.cursor() as cursor:
        open_snapshot(cursor)
        return list(read(cursor, progress))


def open_snapshot(cursor: Any) -> None:
    """What is read from here on is of one moment."""
    cursor.execute("SET SESSION time_zone = '+00:00', sql_mode = ''")  # as text, times are of a zone
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def read(cursor: Any, progress: Callable[[str], None]) -> Iterator[TableSum]:
    """Every table of users, in the snapshot that is open."""
    cursor.execute(TABLES, (SYSTEM,))
    for schema, name in list(cursor.fetchall()):
        if (schema, name) in LEFT_OUT:
            continue
        progress(f"{schema}.{name}")
        cursor.execute(COLUMNS, (schema, name))
        columns = list(cursor.fetchall())
        cursor.execute(checksum_of(schema, name, columns))
        rows, high, low = cursor.fetchone()
        yield TableSum(
            schema_name=schema, name=name, rows=int(rows), checksum=f"{int(high):016x}{int(low):016x}"
        )


def checksum_of(schema: str, name: str, columns: Sequence[tuple[str, str]]) -> str:
    """The question that sums up a table: two halves of each row's SHA-256, added as if by XOR. Pure."""
    texts = (_text_of(_quote(name), kind) for name, kind in columns)
    values = ", ".join([*texts, *(f"ISNULL({_quote(name)})" for name, _ in columns)])
    row = f"SHA2(CONCAT_WS('#', {values}), 256)"
    halves = (f"BIT_XOR(CAST(CONV(SUBSTRING({row}, {start}, 16), 16, 10) AS UNSIGNED))" for start in (1, 17))
    table = f"{_quote(schema)}.{_quote(name)}"
    return f"SELECT COUNT(*), {', '.join(halves)} FROM {table}"  # noqa: S608  names are quoted


def _text_of(column: str, kind: str) -> str:
    """A column of that type as text of which every part counts."""
    match kind.lower():
        case "decimal" | "double":
            return f"CAST({column} AS CHAR)"
        case "float":
            return f"CAST(CAST({column} AS DOUBLE) AS CHAR)"
        case "mediumtext" | "longtext" | "mediumblob" | "longblob" | "json":
            return f"SHA2({column}, 256)"
        case _:
            return f"HEX({column})"


def differences(source: Sequence[TableSum], restored: Sequence[TableSum]) -> list[str]:
    """What differs, in sentences; empty when nothing does. Pure."""
    one, two = ({(t.schema_name, t.name): t for t in them} for them in (source, restored))
    said = [f"{s}.{n} is missing" for s, n in sorted(one.keys() - two.keys())]
    said += [f"{s}.{n} was not there" for s, n in sorted(two.keys() - one.keys())]
    for key in sorted(one.keys() & two.keys()):
        here, there, name = one[key], two[key], ".".join(key)
        if here.rows != there.rows:
            said.append(f"{name} has {there.rows} rows, not {here.rows}")
        elif here.checksum != there.checksum:
            said.append(f"{name} has other content in as many rows")
    return said


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
