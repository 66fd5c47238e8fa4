"""The pool behind the gate of a planned switch. Any database will do: what is tested is when it is asked."""

import fcntl
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from yiyun_app.gate import STATE, USERS, Gate, boot_ns, gated_pool, watch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / USERS).touch()
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    gate = Gate(folder)
    made = create_engine(
        f"sqlite:///{folder}/db", poolclass=gated_pool(gate), pool_size=2, pool_pre_ping=True
    )
    watch(made, gate)
    yield made
    made.dispose()


def say(folder: Path, until: int, discard: int = 0) -> None:
    (folder / STATE).write_text(json.dumps({"until_ns": until, "discard_ns": discard}))


def inside(folder: Path) -> bool:
    with (folder / USERS).open() as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_transaction_waits_at_a_closed_gate(engine: Engine, folder: Path) -> None:
    say(folder, boot_ns() + int(1.5e9))
    threading.Timer(0.2, lambda: say(folder, 0)).start()
    began = time.monotonic()
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    assert 0.15 < time.monotonic() - began < 1.0


def test_who_has_a_connection_is_seen_until_it_is_given_back(engine: Engine, folder: Path) -> None:
    assert not inside(folder)
    with engine.connect() as first, engine.connect():
        assert inside(folder)
        first.close()
        assert inside(folder)
    assert not inside(folder)


def test_a_connection_that_is_thrown_away_is_seen_no_more(engine: Engine, folder: Path) -> None:
    with engine.connect() as connection:
        connection.invalidate()
        assert not inside(folder)
        connection.rollback()
        connection.execute(text("SELECT 1"))
        assert inside(folder)
    assert not inside(folder)


def test_who_cannot_connect_is_not_left_inside(folder: Path) -> None:
    gate = Gate(folder)
    engine = create_engine(f"sqlite:///{folder}/none/db", poolclass=gated_pool(gate))
    watch(engine, gate)
    for _ in range(3):
        with pytest.raises(OperationalError):
            engine.connect()
    assert not inside(folder)


def test_connections_from_before_a_switch_are_replaced_once(engine: Engine, folder: Path) -> None:
    def number() -> int:
        with engine.connect() as connection:
            return id(connection.connection.dbapi_connection)

    kept: list[object] = []  # so that no identity is used twice
    with engine.connect() as connection:
        kept.append(connection.connection.dbapi_connection)
    first = id(kept[0])
    assert number() == first
    say(folder, 0, boot_ns())
    with engine.connect() as connection:
        kept.append(connection.connection.dbapi_connection)
    assert id(kept[1]) != first
    assert number() == id(kept[1])


def test_a_pool_made_anew_has_the_same_gate(engine: Engine, folder: Path) -> None:
    engine.dispose()
    with engine.connect():
        assert inside(folder)
    assert not inside(folder)
