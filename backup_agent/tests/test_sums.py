"""What is read at the source under load is what a restore to its set holds; every part of a value counts."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from server_kit import Bed, eventually, lacking, program

from yiyun_backup import server as throwaway
from yiyun_backup.catalogue import Summed, TableSum
from yiyun_backup.compare import differences, tables
from yiyun_backup.config import Config
from yiyun_backup.gtids import GtidSet
from yiyun_backup.sums import summed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(900),
]
ROUNDS, READINGS = 4, 60
LONGEST_HELD_SECONDS = 2.0


def test_readings_under_load_equal_restores_to_their_sets(bed: Bed) -> None:
    taken = []
    with bed.transfers.running():
        for _ in range(ROUNDS):
            time.sleep(0.7)
            done = bed.agent.run("sum")
            assert done.returncode == 0, done.stderr
            taken.append(json.loads(done.stdout))
        time.sleep(1)
    bed.executed = bed.server.executed()
    eventually(lambda: bed.stored(bed.executed), "not everything is stored")
    sys.stderr.write(f"commits held: {[one['held_s'] for one in taken]}\n")
    assert all(0 < one["held_s"] < LONGEST_HELD_SECONDS for one in taken)
    moves = [next(t["rows"] for t in one["tables"] if t["name"] == "moves") for one in taken]
    assert moves == sorted(set(moves)), "nothing moved between the readings"
    for number, one in enumerate(taken):
        done = bed.restore(f"summed-{number}", "--gtid", one["gtids"])
        with throwaway.serving(Path(program("MYSQLD")), done["target"]) as server:
            held = list(tables(server.connect, lambda _: None))
        assert differences([TableSum(**t) for t in one["tables"]], held) == []
        if number + 1 < len(taken):
            assert differences([TableSum(**t) for t in taken[number + 1]["tables"]], held)


def test_a_reading_and_its_set_are_of_one_moment(bed: Bed) -> None:
    """Each move is one row and one transaction; one that is half a step ahead would differ."""
    source = Config.read(bed.agent.folder / "backup.toml").sources()[0]
    ahead, held = set(), list[float]()
    with bed.transfers.running():
        for _ in range(READINGS):
            one = summed(source, lambda _: None)
            rows = next(t.rows for t in one.tables if t.name == "moves")
            ahead.add(len(GtidSet.parse(one.gtids)) - rows)
            held.append(one.held_s)
    bed.executed = bed.server.executed()
    sys.stderr.write(f"commits held: median {median(held)}, longest {max(held)}\n")
    assert len(ahead) == 1, ahead


def test_a_statement_that_waits_for_the_lock_and_is_waited_for_holds_nobody_up(bed: Bed) -> None:
    """The second waits for a row of the first, the lock for the second, and the first for the lock."""
    source = Config.read(bed.agent.folder / "backup.toml").sources()[0]
    with closing(bed.server.connect()) as one, closing(bed.server.connect()) as two:
        first, second = one.cursor(), two.cursor()
        first.execute("BEGIN")
        first.execute("UPDATE bank.accounts SET money = money WHERE id = 1")
        change = "UPDATE bank.accounts SET money = money WHERE id = 1"
        waiting = Thread(target=second.execute, args=(change,))
        waiting.start()
        time.sleep(0.5)
        taking: list[Summed] = []
        reading = Thread(target=lambda: taking.append(summed(source, lambda _: None)))
        reading.start()
        time.sleep(0.2)
        began = time.monotonic()
        first.execute("UPDATE bank.accounts SET money = money WHERE id = 2")
        first.execute("COMMIT")
        waited = time.monotonic() - began
        waiting.join()
        reading.join()
    assert 0.1 < waited < LONGEST_HELD_SECONDS, "it was not held up, or for too long"
    assert taking[0].held_s > 0.4, "the lock was got at once"


VALUES = {
    "DECIMAL(9,4)": ("1.2500", "1.2501"),
    "DOUBLE": ("0.1", "0.10000000000000002"),
    "FLOAT": ("1.0000001", "1.0000002"),
    "BIGINT UNSIGNED": ("18446744073709551615", "18446744073709551614"),
    "INT": ("-1", "-2"),
    "BIT(64)": ("1", "3"),
    "YEAR": ("2025", "2026"),
    "DATETIME(6)": ("'2026-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.000002'"),
    "TIMESTAMP(3)": ("'2026-01-01 00:00:00.001'", "'2026-01-01 00:00:00.002'"),
    "TIME(6)": ("'-00:00:00.000001'", "'00:00:00.000001'"),
    "CHAR(9)": ("'a'", "'A'"),
    "VARCHAR(9)": ("''", "NULL"),
    "VARBINARY(9)": ("x'00'", "x'0000'"),
    "LONGTEXT": ("'病历'", "'病歷'"),
    "LONGBLOB": ("x'ff00'", "x'ff01'"),
    "JSON": ("""'{"a": 1}'""", """'{"a": "1"}'"""),
    "ENUM('x','y')": ("'x'", "'y'"),
    "SET('x','y')": ("'x'", "'x,y'"),
    "POINT": ("ST_GeomFromText('POINT(1 1)')", "ST_GeomFromText('POINT(1 1.5)')"),
}


@pytest.fixture
def kinds(bed: Bed) -> Iterator[Bed]:
    bed.server.run("CREATE DATABASE kinds")
    yield bed
    bed.server.run("DROP DATABASE kinds")
    bed.executed = bed.server.executed()


def test_the_smallest_change_of_every_type_is_seen(kinds: Bed) -> None:
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(VALUES))
    kinds.server.run(f"CREATE TABLE kinds.t (id INT PRIMARY KEY, {columns})")
    firsts = ", ".join(one for one, _ in VALUES.values())
    kinds.server.run(f"INSERT INTO kinds.t VALUES (1, {firsts})")  # noqa: S608
    before = list(tables(kinds.server.connect, lambda _: None))
    unseen = []
    for n, (kind, (one, two)) in enumerate(VALUES.items()):
        kinds.server.run(f"UPDATE kinds.t SET c{n} = {two}")  # noqa: S608
        after = list(tables(kinds.server.connect, lambda _: None))
        unseen += (
            [kind] if differences(before, after) != ["kinds.t has other content in as many rows"] else []
        )
        kinds.server.run(f"UPDATE kinds.t SET c{n} = {one}")  # noqa: S608
    assert unseen == []
    assert differences(before, list(tables(kinds.server.connect, lambda _: None))) == []


def test_a_change_behind_many_megabytes_is_seen(kinds: Bed) -> None:
    """In hexadecimal it is longer than the longest packet: such a text would be NULL."""
    kinds.server.run("CREATE TABLE kinds.t (id INT PRIMARY KEY, c LONGBLOB)")
    kinds.server.run("INSERT INTO kinds.t VALUES (1, REPEAT('a', 40000000))")
    before = list(tables(kinds.server.connect, lambda _: None))
    kinds.server.run("UPDATE kinds.t SET c = CONCAT(LEFT(c, 39999999), 'b')")
    assert differences(before, list(tables(kinds.server.connect, lambda _: None)))
