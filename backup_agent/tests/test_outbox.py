"""The outbox: whatever is killed whenever, a store gets each segment, in order, and none is invented."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from backup_kit import SOURCE

from yiyun_backup import outbox as module
from yiyun_backup.gtids import GtidSet
from yiyun_backup.outbox import Head, Outbox, Sender, state_of
from yiyun_backup.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REGIONS = ("near", "far")


def head(seq: int) -> Head:
    return Head(seq, f"d{seq}", 1, GtidSet.parse(f"{SOURCE}:1-{seq}"), begun=True)


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path / "box", "db-1", REGIONS, 1000)
    made.begin(GtidSet())
    for seq in (1, 2, 3):
        made.add(b"%d" % seq, head(seq))
    return made


def again(box: Outbox, *regions: str) -> Outbox:
    return Outbox(box.folder, box.stream, regions or REGIONS, box.limit_bytes)


def test_what_was_taken_over_is_there_after_a_restart(box: Outbox) -> None:
    found = again(box)
    assert found.head == head(3)
    assert found.next_of("near") == (1, b"1")
    assert Head.read(head(3).text()) == head(3)


def test_each_region_gets_everything_in_order_and_the_last_to_get_it_removes_it(box: Outbox) -> None:
    for seq in (1, 2, 3):
        assert box.next_of("near") == (seq, b"%d" % seq)
        box.mark_sent("near", seq)
    assert box.next_of("near") is None
    assert box.next_of("far") == (1, b"1")
    box.mark_sent("far", 1)
    assert sorted(p.name for p in box.folder.iterdir() if p.name.isdecimal()) == [f"{n:012d}" for n in (2, 3)]
    assert again(box).next_of("far") == (2, b"2")


def test_a_segment_may_be_sent_and_go_while_the_room_is_counted(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = box._objects()
    for region in REGIONS:
        box.mark_sent(region, 1)
    monkeypatch.setattr(box, "_objects", lambda: listed)
    assert not box.is_full
    box.limit_bytes = 1
    assert box.is_full, "two are still there"


def test_an_object_whose_note_was_never_written_is_cut_anew(box: Outbox) -> None:
    """Killed between the two: the next segment has the same number and may hold more."""
    (box.folder / f"{4:012d}").write_bytes(b"half a thought")
    found = again(box)
    assert found.head.seq == 3
    assert not (box.folder / f"{4:012d}").exists()


def test_a_region_that_is_new_gets_what_is_still_there(box: Outbox) -> None:
    for seq in (1, 2):
        for region in REGIONS:
            box.mark_sent(region, seq)
    assert again(box, *REGIONS, "third").next_of("third") == (3, b"3")
    for region in REGIONS:
        box.mark_sent(region, 3)
    assert again(box, *REGIONS, "fourth").next_of("fourth") is None


def test_it_is_full_when_stores_are_away_for_long(box: Outbox) -> None:
    assert not box.is_full
    box.add(b"x" * 1001, head(4))
    assert box.is_full
    for seq in (1, 2, 3, 4):
        box.mark_sent("near", seq)
    assert box.is_full, "one region is not all"
    for seq in (1, 2, 3, 4):
        box.mark_sent("far", seq)
    assert not box.is_full


class Away:
    """A store that refuses some times, then takes."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.got, self.kept = refusals, list[str](), list[datetime]()

    def put(self, key: str, data: bytes, keep_until: datetime) -> str:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("far: put: SlowDown")
        self.got.append(f"{key} {data.decode()}")
        self.kept.append(keep_until)
        return "v"


def until(check: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not check():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_store_that_is_away_is_asked_again_until_it_has_everything(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_REST", 0.01)
    store: Any = Away(3)
    stop = threading.Event()
    sender = Sender(box, "far", lambda: store, timedelta(days=2), stop)
    sender.start()
    until(lambda: box.sent("far") == 3)
    box.add(b"4", head(4))
    until(lambda: box.sent("far") == 4)
    stop.set()
    sender.join(5)
    assert store.got == [f"log/db-1/{n:012d} {n}" for n in (1, 2, 3, 4)]
    assert all(timedelta(days=1) < kept - datetime.now(UTC) < timedelta(days=3) for kept in store.kept)
    told = state_of(box, {"far": sender}, time.time())
    assert told["regions"]["far"] == {"stored": 4, "behind_s": 0.0, "problem": ""}


def test_how_far_a_region_is_behind_is_told_in_seconds(box: Outbox) -> None:
    stop = threading.Event()
    sender = Sender(box, "far", lambda: (_ for _ in ()).throw(StoreError("far: away")), timedelta(1), stop)
    sender.start()
    until(lambda: bool(sender.problem))
    stop.set()
    sender.join(20)
    told = state_of(box, {"far": sender}, time.time() + 7)["regions"]["far"]
    assert told["stored"] == 0
    assert 7 <= told["behind_s"] < 20
    assert "away" in told["problem"]
