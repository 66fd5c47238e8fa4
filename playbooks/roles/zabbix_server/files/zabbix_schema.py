#!/usr/bin/python3
"""Fill Zabbix's empty database and set the first account's password, read from stdin; keep it so.

Schema, images, data and the password go into one transaction, so no session ever sees the vendor's default
password. The guest account, without which the pages do not work, gets a password nobody knows in the same
transaction and stays in the group whose members are disabled. Prints `changed` or `unchanged`.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path("/usr/share/zabbix-server-pgsql")
PARTS = ("schema", "images", "data")
PSQL = [
    "psql",
    "--no-psqlrc",
    "--quiet",
    "--tuples-only",
    "--no-align",
    "-v",
    "ON_ERROR_STOP=1",
    "-d",
    "zabbix",
]
TRANSACTION_LINES = frozenset({b"START TRANSACTION;", b"COMMIT;"})
"""Left out of the vendor's files: one transaction holds everything."""
ROUNDS = 10
"""bcrypt's cost, the one Zabbix itself uses."""


def quoted(text: str) -> str:
    """An SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def account_statements(password: str) -> str:
    """What makes the accounts ours: the first one's password, and a guest nobody can be."""
    return (
        "CREATE EXTENSION IF NOT EXISTS pgcrypto;\n"
        f"UPDATE users SET passwd = crypt({quoted(password)}, gen_salt('bf', {ROUNDS}))"
        " WHERE username = 'Admin';\n"
        f"UPDATE users SET passwd = crypt(gen_random_uuid()::text, gen_salt('bf', {ROUNDS}))"
        " WHERE username = 'guest' AND passwd = crypt('', passwd);\n"
    )


def is_ours(password: str) -> str:
    """A query that prints `t` when the first account has this password and the guest's is not empty."""
    return (
        f"SELECT (SELECT passwd = crypt({quoted(password)}, passwd)"  # noqa: S608  quoted
        " FROM users WHERE username = 'Admin')"
        " AND NOT EXISTS (SELECT FROM users WHERE username = 'guest' AND passwd = crypt('', passwd));"
    )


def schema_statements() -> Iterator[bytes]:
    """The vendor's files, line by line, without their own transactions."""
    for part in PARTS:
        with gzip.open(FOLDER / f"{part}.sql.gz", "rb") as lines:
            yield from (line for line in lines if line.strip() not in TRANSACTION_LINES)


def ask(query: str) -> str:
    """The answer of one query. The query goes by stdin, so that no process shows a password."""
    return subprocess.run(PSQL, input=query, capture_output=True, text=True, check=True).stdout.strip()


def fill(password: str) -> int:
    """Import everything at once; exit code of psql, whose complaints go to stderr."""
    with subprocess.Popen(
        [*PSQL, "--single-transaction", "--output=/dev/null"], stdin=subprocess.PIPE
    ) as process:
        if process.stdin is None:
            return 1
        process.stdin.writelines(schema_statements())
        process.stdin.write(account_statements(password).encode())
        process.stdin.close()
    return process.returncode


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    password = sys.stdin.read().strip()
    if not password:
        sys.stderr.write("no password on stdin\n")
        return 1
    empty = ask("SELECT to_regclass('public.users') IS NULL;") == "t"
    if not empty and ask(is_ours(password)) == "t":
        sys.stdout.write("unchanged\n")
        return 0
    if not options.check:
        if empty and fill(password) != 0:
            return 1
        if not empty:
            ask(account_statements(password))
    sys.stdout.write("changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
