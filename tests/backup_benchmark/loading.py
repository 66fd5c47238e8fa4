"""Loads the county into a server until its pages are as many as wanted. Nothing of it goes into the log."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pymysql
from server_kit import PASSWORD
from sqlalchemy import create_engine

from tests.backup_benchmark import county
from yiyun_app.schema import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from server_kit import Server

SCHEMA = "yiyun"
RESIDENTS_AT_ONCE = 50_000
AHEAD = 2
"""Chunks that are made while one is loaded."""
SIZE = "SELECT SUM(file_size) FROM information_schema.innodb_tablespaces WHERE name LIKE %s"


@dataclass(frozen=True)
class Loaded:
    """Rows by table, and how long it took (s)."""

    rows: dict[str, int]
    seconds: float


def load(server: Server, seed: int, size: int, folder: Path) -> Loaded:
    """Make the platform's tables and fill them until they have `size` bytes. `folder`: for files between."""
    began = time.monotonic()
    folder.mkdir()
    server.run(f"CREATE DATABASE {SCHEMA}", "SET GLOBAL local_infile = ON")
    url = f"mysql+pymysql://admin:{PASSWORD}@127.0.0.1:{server.port}/{SCHEMA}"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()
    people = round(size / 2**30 * county.RESIDENTS_PER_GIB)
    rows: Counter[str] = Counter()
    with closing(_connect(server)) as connection, connection.cursor() as cursor:
        for files in made(_jobs(seed, people), folder):
            for table, (path, number) in files.items():
                listed, as_bytes = county.columns(table)
                cursor.execute(
                    f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} CHARACTER SET utf8mb4 ({listed})"
                    + (f" SET {as_bytes}" if as_bytes else "")
                )
                assert cursor.rowcount == number, (table, cursor.rowcount, number)
                rows[table] += number
                path.unlink()
            cursor.execute(SIZE, (f"{SCHEMA}/%",))
            if rows["observation"] and cursor.fetchone()[0] >= size:
                break
    folder.rmdir()
    return Loaded(dict(rows), round(time.monotonic() - began, 1))


Rows = dict[str, list[str]]
Files = dict[str, tuple["Path", int]]


def _jobs(seed: int, people: int) -> Iterator[Callable[[], Rows]]:
    """All residents, then messages without end."""
    for first in range(0, people, RESIDENTS_AT_ONCE):
        yield partial(county.residents, seed, first, min(RESIDENTS_AT_ONCE, people - first))
    for number in count():
        yield partial(county.messages, seed, number, people)


def made(jobs: Iterable[Callable[[], Rows]], folder: Path) -> Iterator[Files]:
    """Files with the rows of each job, in order, made by another process a little ahead."""
    with ProcessPoolExecutor(1) as pool:
        waiting: list[Any] = []
        try:
            for number, job in enumerate(jobs):
                waiting.append(pool.submit(_write, job, folder, number))
                if len(waiting) > AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for one in waiting:  # made for nothing, since the size is reached
                for path, _ in one.result().values():
                    path.unlink()


def _write(job: Callable[[], Rows], folder: Path, number: int) -> Files:
    files: Files = {}
    for table, rows in job().items():
        path = folder / f"{number}.{table}"
        path.write_text("".join(rows), encoding="utf-8")
        files[table] = path, len(rows)
    return files


def _connect(server: Server) -> Any:
    return pymysql.connect(
        host="127.0.0.1",
        port=server.port,
        user="admin",
        password=PASSWORD,
        database=SCHEMA,
        local_infile=True,
        autocommit=True,
        init_command="SET SESSION sql_log_bin = 0, foreign_key_checks = 0, unique_checks = 0",
    )
