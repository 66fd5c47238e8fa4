"""Writes and reads through a router as the platform does, at a fixed rate, noting every answer with its time.

`python -m runbooks.drills.workloads.database HISTORY`, its settings as one JSON object on standard input;
run in an app host's network. It ends at SIGTERM, or after `seconds`. The schedule never waits for an answer:
what the database could not take in time is counted from when it was due (coordinated omission).
"""

from __future__ import annotations

import random
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
from pydantic import BaseModel, ConfigDict

from runbooks.database.onhost.gate import Gate, boot_ns
from runbooks.drills.evidence.history import Kind, Operation, Outcome
from runbooks.drills.workloads.pacing import carry_out, drawn, paced

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from pymysql.cursors import Cursor

    Connection = pymysql.Connection[Cursor]

AGAIN = frozenset({1213, 1180, 3101})
"""Errors after which a transaction is certainly not applied and may be repeated whole (MySQL 9.7)."""
TRIES = 5
MIX: tuple[tuple[Kind, int], ...] = (("append", 4), ("set", 3), ("get", 3), ("transfer", 2), ("snapshot", 1))
"""Shares of the operations."""
ACCOUNTS, BALANCE = 10, 1000
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS lists (name VARCHAR(40) PRIMARY KEY, body MEDIUMTEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS registers (name VARCHAR(40) PRIMARY KEY, version BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS accounts (number INT PRIMARY KEY, balance BIGINT NOT NULL)",
    "DELETE FROM lists",
    "DELETE FROM registers",
    "DELETE FROM accounts",
)


class Settings(BaseModel):
    """What the program is told. `connect_timeout` and `read_timeout` are the platform's own, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int
    user: str
    password: str
    database: str
    authority: str
    connect_timeout: float
    read_timeout: float
    clients: int
    rate: float
    seconds: float
    seed: int
    numbers: list[int] = []
    """Which of the clients run here; empty: all of them."""
    prepared: bool = False
    """Whether another process has made the tables."""
    gate: str = ""
    """Folder of the app host's gate, as this process sees it; empty: no planned switch is waited for."""


@dataclass
class Answer:
    """What became of one operation."""

    outcome: Outcome
    value: int | None = None
    error: str = ""


class Client:
    """One user of the database: one connection, looked at before each use as the platform's pool does."""

    def __init__(self, settings: Settings, number: int, note: Callable[[Operation], None]) -> None:
        self.settings, self.number, self.note = settings, number, note
        self._random = random.Random(f"{settings.seed}/{number}")  # noqa: S311  a seed that can be repeated
        self._gate = Gate(Path(settings.gate)) if settings.gate else None
        self._connection: Connection | None = None
        self._opened = 0
        self._member = ""
        self._version = 0

    def run(self, began: float, stopped: threading.Event) -> None:
        """Every operation at its due moment or as soon after as the one before has ended."""
        paced(self.settings, self.number, began, stopped, self._one)

    def _one(self, number: int, due: float) -> None:
        began = time.monotonic()
        kind = drawn(self._random, MIX)
        target, value, work = self._work(kind, number)
        answer = self._tried(work)
        self.note(
            Operation(
                client=self.number,
                number=number,
                kind=kind,
                target=target,
                value=answer.value if kind in {"get", "snapshot"} else value,
                intended=due,
                began=began,
                ended=time.monotonic(),
                outcome=answer.outcome,
                member=self._member if answer.outcome == "ok" else "",
                error=answer.error,
            )
        )

    def _work(self, kind: Kind, number: int) -> tuple[str, int | None, Callable[[Cursor], int | None]]:
        """Target, value, and the statements of an operation; they give what was read."""
        if kind == "append":
            name, value = f"list-{self.number // 2}", self.number * 1_000_000 + number
            return name, value, lambda c: _append(c, name, value)
        if kind == "set":
            name, self._version = f"register-{self.number}", self._version + 1
            version = self._version
            return name, version, lambda c: _set(c, name, version)
        if kind == "get":
            name = f"register-{self._random.randrange(self.settings.clients)}"
            return name, None, lambda c: _scalar(c, "SELECT version FROM registers WHERE name = %s", name)
        if kind == "transfer":
            first, second = sorted(self._random.sample(range(ACCOUNTS), 2))
            return "bank", None, lambda c: _transfer(c, first, second, self._random.randrange(1, 10))
        return "bank", None, lambda c: _scalar(c, "SELECT SUM(balance) FROM accounts")

    def _tried(self, work: Callable[[Cursor], int | None]) -> Answer:
        """The whole transaction again where it is certainly not applied; never where it might be."""
        answer = Answer("fail")
        for _ in range(TRIES):
            answer, again = self._once(work)
            if not again:
                break
        return answer

    def _once(self, work: Callable[[Cursor], int | None]) -> tuple[Answer, bool]:
        if self._gate is None:
            return self._transaction(work)
        with self._gate.passed() as discard:
            if self._opened < discard:
                self._dropped()
            return self._transaction(work)

    def _transaction(self, work: Callable[[Cursor], int | None]) -> tuple[Answer, bool]:
        committing = False
        try:
            connection = self._checked_out()
            with connection.cursor() as cursor:
                value = work(cursor)
            committing = True
            connection.commit()
            return Answer("ok", value), False
        except (pymysql.MySQLError, OSError) as error:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            again = code in AGAIN
            if again and self._connection is not None:
                self._rolled_back(self._connection)
            else:
                self._dropped()
            unknown = committing and not again
            return Answer("unknown" if unknown else "fail", error=f"{code} {error}"[:200]), again

    def _checked_out(self) -> Connection:
        if self._connection is not None:
            try:
                self._connection.ping(reconnect=False)
                return self._connection
            except (pymysql.MySQLError, OSError):
                self._dropped()
        self._connection, self._opened = connected(self.settings), boot_ns()
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT @@hostname")
            self._member = str((cursor.fetchone() or ("",))[0])
        self._connection.rollback()
        return self._connection

    def _rolled_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except (pymysql.MySQLError, OSError):
            self._dropped()

    def _dropped(self) -> None:
        if self._connection is not None:
            # `close` would talk to who is gone
            self._connection._force_close()  # pyright: ignore[reportAttributeAccessIssue]
            self._connection = None


def _append(cursor: Cursor, name: str, value: int) -> None:
    cursor.execute("UPDATE lists SET body = CONCAT(body, %s) WHERE name = %s", (f"{value},", name))


def _set(cursor: Cursor, name: str, version: int) -> None:
    cursor.execute("UPDATE registers SET version = %s WHERE name = %s", (version, name))


def _transfer(cursor: Cursor, first: int, second: int, amount: int) -> None:
    numbers = (first, second)
    cursor.execute("SELECT number FROM accounts WHERE number IN (%s, %s) ORDER BY number FOR UPDATE", numbers)
    cursor.fetchall()
    cursor.execute("UPDATE accounts SET balance = balance - %s WHERE number = %s", (amount, first))
    cursor.execute("UPDATE accounts SET balance = balance + %s WHERE number = %s", (amount, second))


def _scalar(cursor: Cursor, statement: str, *values: Any) -> int | None:
    cursor.execute(statement, values)
    row = cursor.fetchone()
    return None if row is None or row[0] is None else int(row[0])


def connected(settings: Settings) -> Connection:
    """A new session with the platform's own settings (`yiyun_app.database`): TLS, timeouts, isolation."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=settings.authority)
    context.check_hostname = False  # the router's address; servers change behind it
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return pymysql.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password,
        database=settings.database,
        ssl=context,
        connect_timeout=settings.connect_timeout,  # pyright: ignore[reportArgumentType]  a float serves
        read_timeout=settings.read_timeout,
        write_timeout=settings.read_timeout,
        init_command="SET SESSION time_zone = '+00:00', SESSION transaction_isolation = 'READ-COMMITTED'",
        autocommit=False,
    )


def prepare(settings: Settings) -> None:
    """Make the tables anew, with every list, register and account that the clients use."""
    connection = connected(settings)
    with connection, connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
        lists = [(f"list-{n}",) for n in range((settings.clients + 1) // 2)]
        cursor.executemany("INSERT INTO lists VALUES (%s, '')", lists)
        registers = [(f"register-{n}",) for n in range(settings.clients)]
        cursor.executemany("INSERT INTO registers VALUES (%s, 0)", registers)
        accounts = [(n, BALANCE) for n in range(ACCOUNTS)]
        cursor.executemany("INSERT INTO accounts VALUES (%s, %s)", accounts)
        connection.commit()


def main() -> int:
    """Entry point."""
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    if not settings.prepared:
        prepare(settings)
    numbers = settings.numbers or range(settings.clients)
    carry_out(
        Path(sys.argv[1]),
        lambda note: [Client(settings, n, note) for n in numbers],
        settings.read_timeout + settings.connect_timeout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
