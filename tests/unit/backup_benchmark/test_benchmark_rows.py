"""The rows that the benchmark loads: the same from the same seed, whole, and of the platform's own tables."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.backup_benchmark import county
from tests.backup_benchmark.loading import made
from yiyun_app.schema import Base

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = 900


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    return county.residents(1, 0, PEOPLE) | messages(1)


def messages(seed: int) -> dict[str, list[str]]:
    return county.messages(seed, 0, PEOPLE, 400)


def fields(table: str, row: str) -> dict[str, str]:
    names = [name.rstrip("!") for name in county.TABLES[table].split()]
    return dict(zip(names, row.rstrip("\n").split("\t"), strict=True))


def test_the_same_seed_gives_the_same_rows_and_another_one_does_not(rows: dict[str, list[str]]) -> None:
    again = messages(1)
    assert again == {name: rows[name] for name in again}
    assert messages(2)["observation"] != rows["observation"]
    assert county.residents(2, 0, 5) != county.residents(1, 0, 5)


def test_every_column_of_the_platform_is_filled(rows: dict[str, list[str]]) -> None:
    for table, listed in county.TABLES.items():
        names = {name.rstrip("!") for name in listed.split()}
        assert names == set(Base.metadata.tables[table].columns.keys())
        assert rows[table]
        for row in rows[table][:500]:
            found = fields(table, row)
            for name in (name[:-1] for name in listed.split() if name.endswith("!")):
                assert found[name] == county.NULL or re.fullmatch("([0-9a-f]{2})+", found[name]), (table, row)


def test_results_are_of_residents_that_are_there_and_keys_do_not_repeat(rows: dict[str, list[str]]) -> None:
    numbers = {fields("resident", row)["record_number"] for row in rows["resident"]}
    assert len(numbers) == PEOPLE
    observations = [fields("observation", row) for row in rows["observation"]]
    assert {one["record_number"] for one in observations} <= numbers
    ids = {one["id"] for one in observations}
    assert len(ids) == len(observations)
    replaced = (fields("observation_version", row) for row in rows["observation_version"])
    assert {one["observation_id"] for one in replaced} <= ids


def test_bytes_are_told_to_the_server_as_such() -> None:
    listed, as_bytes = county.columns("record_access")
    assert listed == "@id, `at`, `username`, `address`, `action`, `record_number`"
    assert as_bytes == "`id` = UNHEX(@id)"
    assert county.columns("resident_identifier")[1] == ""


def one_row(number: int) -> dict[str, list[str]]:
    return {"resident": [f"{number}\n"]}


def test_files_come_in_order_and_those_made_for_nothing_are_removed(tmp_path: Path) -> None:
    seen: list[str] = []
    for files in made((partial(one_row, number) for number in range(50)), tmp_path):
        path, number = files["resident"]
        seen.append(path.read_text())
        path.unlink()
        assert number == 1
        if len(seen) == 3:
            break
    assert seen == ["0\n", "1\n", "2\n"]
    assert list(tmp_path.iterdir()) == []
