"""What a database holds, so that two can be compared: rows and an order-free checksum of each table.

The checksum is MySQL's own arithmetic over every column, and tells NULL from empty. Both sides must be at the
same GTID set.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYSTEM = ("mysql", "sys", "information_schema", "performance_schema")
TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN %s ORDER BY 1, 2
"""
COLUMNS = """
SELECT column_name FROM information_schema.columns
 WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
LEFT_OUT = {("yiyun_probe", "proof")}
"""Written by each member for itself, all the time."""


@dataclass(frozen=True)
class Table:
    """A table at one moment."""

    schema: str
    name: str
    rows: int
    checksum: str


def tables(connect: Callable[[], Any], progress: Callable[[str], None]) -> Iterator[Table]:
    """Every table of users, read in full, within one snapshot."""
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        cursor.execute(TABLES, (SYSTEM,))
        for schema, name in list(cursor.fetchall()):
            if (schema, name) in LEFT_OUT:
                continue
            progress(f"{schema}.{name}")
            cursor.execute(COLUMNS, (schema, name))
            columns = [row[0] for row in cursor.fetchall()]
            cursor.execute(checksum_of(schema, name, columns))
            rows, high, low = cursor.fetchone()
            yield Table(schema, name, int(rows), f"{int(high):016x}{int(low):016x}")


def checksum_of(schema: str, name: str, columns: list[str]) -> str:
    """The question that sums up a table: two halves of each row's SHA-256, added as if by XOR. Pure."""
    quoted = [_quote(c) for c in columns]
    values = ", ".join([*(f"HEX({c})" for c in quoted), *(f"ISNULL({c})" for c in quoted)])
    row = f"SHA2(CONCAT_WS('#', {values}), 256)"
    halves = (f"BIT_XOR(CAST(CONV(SUBSTRING({row}, {start}, 16), 16, 10) AS UNSIGNED))" for start in (1, 17))
    table = f"{_quote(schema)}.{_quote(name)}"
    return f"SELECT COUNT(*), {', '.join(halves)} FROM {table}"  # noqa: S608  names are quoted


def differences(source: list[Table], restored: list[Table]) -> list[str]:
    """What differs, in sentences; empty when nothing does. Pure."""
    one, two = ({(t.schema, t.name): t for t in them} for them in (source, restored))
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
