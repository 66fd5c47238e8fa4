from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest
from gateway_kit import eventually, oru

from yiyun_gateway import store
from yiyun_gateway.intake import Intake, RefusedError
from yiyun_gateway.store import Arrival, FullError, Parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BIG = 1 << 30


def arrival(
    control_id: str, *, sender: str = "LIS|HIS-1", time: str = "20260102", raw: bytes = b""
) -> Arrival:
    return Arrival(sender, time, control_id, "ORU^R01", "127.0.0.1", raw or oru(control_id), store.now())


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(store.connect(tmp_path / "store.db", durable=True)) as one:
        yield one


def test_the_listeners_connection_syncs_every_commit(db: sqlite3.Connection) -> None:
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_key_depends_on_sender_bytes_and_time_and_on_nothing_else() -> None:
    base = arrival("1")
    same = Arrival(base.sender, base.message_time, "other", "x", "10.0.0.9", base.raw, "later")
    assert same.key == base.key
    assert (
        len({base.key, arrival("1", sender="LIS|HIS-2").key, arrival("1", time="2027").key, arrival("2").key})
        == 4
    )
    shifted = Arrival(base.sender + "a", base.message_time, "", "", "", b"b", "")
    assert shifted.key != Arrival(base.sender, base.message_time, "", "", "", b"ab", "").key


def test_the_same_message_twice_is_stored_once_and_counted(db: sqlite3.Connection) -> None:
    assert store.accept(db, [arrival("1"), arrival("1"), arrival("2")], BIG) == [True, False, True]
    assert store.accept(db, [arrival("1")], BIG) == [False]
    assert db.execute("SELECT control_id, repeats FROM message ORDER BY id").fetchall() == [
        ("1", 2),
        ("2", 0),
    ]


def test_a_full_store_refuses_and_keeps_what_it_has(db: sqlite3.Connection) -> None:
    stored = 0
    with pytest.raises(FullError):  # noqa: PT012 - it must be raised by some later message
        while store.accept(db, [arrival(f"{stored}")], 128 * 1024):
            stored += 1
    assert db.execute("SELECT count(*) FROM message").fetchone() == (stored,)
    assert stored > 10
    assert store.used_bytes(db) <= 128 * 1024


def test_pruning_removes_only_delivered_messages_and_makes_room(db: sqlite3.Connection) -> None:
    store.accept(db, [arrival(str(n)) for n in range(6)], BIG)
    store.mark_parsed(db, [Parsed(n, "lane") for n in (1, 2, 3, 4)] + [Parsed(5, None, "why")])
    store.mark_sent(db, [1, 2], [(3, "platform answered 422: x")])
    assert store.prune(db, BIG, keep_after="2000") == 0
    assert store.prune(db, BIG, keep_after="9999") == 2
    states = db.execute("SELECT id, state FROM message ORDER BY id").fetchall()
    assert states == [(3, "parked"), (4, "parsed"), (5, "parked"), (6, "received")]


def test_replay_takes_parked_messages_only(db: sqlite3.Connection) -> None:
    store.accept(db, [arrival(str(n)) for n in range(3)], BIG)
    store.mark_parsed(db, [Parsed(1, None, "why"), Parsed(2, "lane")])
    assert store.replay(db, [2]) == 0
    assert store.replay(db, [1]) == 1
    assert db.execute("SELECT state, reason FROM message WHERE id = 1").fetchone() == ("received", None)
    assert store.replay(db, None) == 0


def test_unmapped_codes_are_counted_with_an_example(db: sqlite3.Connection) -> None:
    store.accept(db, [arrival("1"), arrival("2")], BIG)
    code = ("HIS-1", "XYZ", "U/L", "某项")
    store.mark_parsed(db, [Parsed(1, "a", None, (code,)), Parsed(2, "a", None, (code,))])
    assert db.execute("SELECT code, unit, seen, example FROM unmapped").fetchall() == [("XYZ", "U/L", 2, 1)]


def test_a_newer_store_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(store.StoreError, match="newer"):
        store.connect(path, durable=True)


def test_nothing_is_confirmed_before_the_commit_returns() -> None:
    entered, release = threading.Event(), threading.Event()

    def write(batch: Sequence[Arrival]) -> list[bool]:
        entered.set()
        assert release.wait(30)
        return [True] * len(batch)

    intake = Intake(write)
    futures = [intake.submit(arrival("1"))]
    assert entered.wait(30)
    futures += [intake.submit(arrival(str(n))) for n in range(2, 20)]
    assert not any(future.done() for future in futures)
    release.set()
    assert [future.result(30) for future in futures] == [True] * 19
    intake.close()


def test_messages_that_wait_share_one_commit() -> None:
    sizes: list[int] = []
    entered, release = threading.Event(), threading.Event()

    def write(batch: Sequence[Arrival]) -> list[bool]:
        sizes.append(len(batch))
        entered.set()
        assert release.wait(30)
        return [True] * len(batch)

    intake = Intake(write)
    first = intake.submit(arrival("1"))
    assert entered.wait(30)
    others = [intake.submit(arrival(str(n))) for n in range(40)]
    release.set()
    assert all(future.result(30) for future in [first, *others])
    assert sizes == [1, 40]
    intake.close()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (FullError(), "store is full"),
        (sqlite3.OperationalError("database or disk is full"), "store refuses: OperationalError"),
        (RuntimeError("?"), "internal error: RuntimeError"),
    ],
)
def test_a_failed_commit_refuses_the_message(failure: Exception, reason: str) -> None:
    def write(batch: Sequence[Arrival]) -> list[bool]:
        raise failure

    intake = Intake(write)
    with pytest.raises(RefusedError, match=reason):
        intake.submit(arrival("1")).result(30)
    intake.close()


def test_one_message_too_large_does_not_cost_the_others_their_place() -> None:
    entered, release = threading.Event(), threading.Event()

    def write(batch: Sequence[Arrival]) -> list[bool]:
        entered.set()
        assert release.wait(30)
        if any(one.control_id == "big" for one in batch):
            raise FullError
        return [True] * len(batch)

    intake = Intake(write)
    first = intake.submit(arrival("1"))
    assert entered.wait(30)
    big, small = intake.submit(arrival("big")), intake.submit(arrival("small"))
    release.set()
    assert first.result(30)
    assert small.result(30)
    with pytest.raises(RefusedError):
        big.result(30)
    intake.close()


def test_the_worker_hears_of_every_commit() -> None:
    heard: list[int] = []
    intake = Intake(lambda batch: [True] * len(batch), heard.append)
    intake.submit(arrival("1")).result(30)
    eventually(lambda: heard == [1])
    intake.close()
