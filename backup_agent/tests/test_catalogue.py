"""The catalogue: what is missing, taken back or written anew is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from backup_kit import AT

from yiyun_backup import signed
from yiyun_backup.catalogue import Base, Entry, Hold, Mark, follow, key_of, must_reach
from yiyun_backup.errors import DamageError
from yiyun_backup.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

BASE = Base(
    member="db-3",
    source="u",
    version="9.7.4",
    lower_case_table_names=0,
    gtids="",
    tables=9,
    bytes=10**10,
    repository="mysql",
    snapshots={"near": "ab12"},
)
KEY = signed.new_key()
TRUSTED = {signed.fingerprint(KEY.public_key()): KEY.public_key()}


def written(count: int, writer: str = "db-3") -> list[bytes]:
    made, prev = list[bytes](), ""
    for seq in range(1, count + 1):
        body = BASE if seq % 2 else Hold(of="db-3.1", on=True, by="li", reason="case 7")
        entry = Entry(estate="t", writer=writer, seq=seq, prev=prev, began=AT, ended=AT, body=body)
        made.append(signed.sign(entry, KEY))
        prev = signed.digest(entry)
    return made


def read(entries: list[bytes]) -> tuple[list[Entry], Mark]:
    return follow("db-3", [signed.verify(data, Entry, TRUSTED, "it") for data in entries])


def test_entries_come_back_typed_and_in_order() -> None:
    found, mark = read(written(3))
    assert [e.id for e in found] == ["db-3.1", "db-3.2", "db-3.3"]
    assert isinstance(found[0].body, Base)
    assert isinstance(found[1].body, Hold)
    assert mark.seq == 3
    assert key_of("db-3", 3) == "catalogue/db-3/000000000003"


@pytest.mark.parametrize(
    ("order", "words"),
    [((0, 2), "entry 2 of db-3 is missing"), ((1, 2), "entry 1 of db-3 is missing"), ((0, 0), "entry 2")],
)
def test_a_gap_or_a_double_is_found(order: tuple[int, ...], words: str) -> None:
    made = written(3)
    with pytest.raises(DamageError, match=words):
        read([made[n] for n in order])


def test_an_entry_of_another_host_or_another_history_is_found() -> None:
    with pytest.raises(DamageError, match="an entry of db-1"):
        read(written(1, "db-1"))
    other = written(4)
    again = [*written(1), other[1]]
    assert read(again)[1].seq == 2, "equal histories are one"
    entry = Entry(
        estate="t",
        writer="db-3",
        seq=1,
        prev="",
        began=AT,
        ended=AT,
        body=BASE.model_copy(update={"tables": 8}),
    )
    with pytest.raises(DamageError, match="follows another"):
        read([signed.sign(entry, KEY), other[1]])


def test_entries_that_are_written_at_once_make_one_history(tmp_path: Path) -> None:
    journal = Journal("t", "db-3", tmp_path / "catalogue", KEY)

    def add(_: int) -> None:
        journal.add(BASE, AT, [], timedelta(days=1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert [e.seq for e in journal.entries()] == list(range(1, 41))


def test_a_copy_that_lost_its_newest_entries_is_behind() -> None:
    """Such a repository checks clean, and restores older data."""
    whole, mark = read(written(3))
    _, behind = read(written(2))
    digests = {e.seq: signed.digest(e) for e in whole}
    must_reach("db-3", mark, mark, digests, "far")
    must_reach("db-3", mark, behind, digests, "far")
    with pytest.raises(DamageError, match=r"far: the catalogue of db-3 ends at 2, and was at 3") as caught:
        must_reach("db-3", behind, mark, digests, "far")
    assert caught.value.check == "rolled back"
    with pytest.raises(DamageError, match="another than was seen") as caught:
        must_reach("db-3", mark, Mark(2, "f" * 64), digests, "far")
    assert caught.value.check == "forked"
