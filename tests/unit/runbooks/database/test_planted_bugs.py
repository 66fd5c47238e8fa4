"""The checker fails what it must: real servers, the drill's own workload, and a bug planted in each place.

A member that acknowledges and forgets, reads from a member that lags, a workload that calls failures success:
each is run beside the same load without the bug, which the checker passes.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from runbooks.drills.evidence.checkers import Findings, check
from runbooks.drills.evidence.history import Held, Operation
from runbooks.drills.evidence.members import HELD
from runbooks.drills.workloads.database import ACCOUNTS, BALANCE, Answer, Client, Settings, prepare
from tests.beds.members import PASSWORD, Server, group, join, online, server, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pymysql.cursors import Cursor

    from runbooks.drills.evidence.history import Kind

    Note = Callable[[Operation], None]
    Work = Callable[[Cursor], int | None]

pytestmark = [
    pytest.mark.skipif(server() is None, reason="no mysqld; YIYUN_TEST_MYSQLD names it"),
    pytest.mark.timeout(300),
]
CLIENTS, RATE, SECONDS = 4, 100.0, 1.5


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with group(tmp_path_factory.mktemp("bugs")) as made:
        yield made


def settings(member: Server) -> Settings:
    return Settings(
        host=member.address,
        port=member.port,
        user="yiyun_drill",
        password=PASSWORD,
        database="yiyun_drill",
        authority=(member.folder / "ca.pem").read_text(),
        connect_timeout=1.0,
        read_timeout=2.0,
        clients=CLIENTS,
        rate=RATE,
        seconds=60,
        seed=3,
    )


class Load:
    """Clients in threads, and what they noted."""

    def __init__(self, make: Callable[[int, Callable[[Operation], None]], Client]) -> None:
        self.history: list[Operation] = []
        self.clients = [make(number, self.history.append) for number in range(CLIENTS)]

    @contextmanager
    def running(self) -> Generator[None]:
        stopped, began = threading.Event(), time.monotonic()
        threads = [threading.Thread(target=c.run, args=(began, stopped)) for c in self.clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    def acknowledged(self, count: int) -> None:
        wait(lambda: sum(op.acknowledged for op in self.history) >= count, f"{count} acknowledged writes")


def held(member: Server) -> Held:
    """What a member holds, by the statement that drills use."""
    begin, question = HELD.split(";", 1)
    row = member.run(begin, question)
    assert row is not None
    data = json.loads(row[0])
    lists = {name: [int(x) for x in body.split(",") if x] for name, body in data["lists"].items()}
    return Held(
        member=member.name,
        gtid_set=data["gtid_set"],
        lists=lists,
        registers=data["registers"],
        total=data["total"],
    )


def found(load: Load, *readers: Server) -> Findings:
    wait(lambda: len({held(r).gtid_set for r in readers}) == 1, "the members did not come to agree")
    return check(load.history, [held(r) for r in readers], ACCOUNTS * BALANCE)


def test_a_good_load_on_a_good_group_has_no_finding(members: dict[str, Server]) -> None:
    prepare(settings(members["db-1"]))
    load = Load(lambda number, note: Client(settings(members["db-1"]), number, note))
    with load.running():
        load.acknowledged(60)
    findings = found(load, *members.values())
    assert findings.violations == ()
    assert findings.acknowledged >= 60


class Split(Client):
    """Reads go to another member than writes, as a proxy for reads would have it."""

    def __init__(
        self, own: Settings, reads: Settings, number: int, note: Callable[[Operation], None]
    ) -> None:
        super().__init__(own, number, note)
        self._reader = Client(reads, number, note)
        self._kind: Kind = "get"

    def _work(self, kind: Kind, number: int) -> tuple[str, int | None, Work]:
        self._kind = kind
        return super()._work(kind, number)

    def _once(self, work: Work) -> tuple[Answer, bool]:
        return self._reader._once(work) if self._kind == "get" else super()._once(work)


def test_reads_from_a_member_that_lags_are_caught(members: dict[str, Server]) -> None:
    writer, lagging = members["db-1"], members["db-3"]
    prepare(settings(writer))
    wait(lambda: held(lagging).registers.keys() == held(writer).registers.keys(), "the tables are not there")
    load = Load(lambda number, note: Split(settings(writer), settings(lagging), number, note))
    with closing(lagging.connect()) as lock, lock.cursor() as cursor:
        cursor.execute("FLUSH TABLES yiyun_drill.registers WITH READ LOCK")
        with load.running():
            load.acknowledged(60)
        cursor.execute("UNLOCK TABLES")
    findings = found(load, *members.values())
    assert findings.count("stale") > 0
    assert {v.fault for v in findings.violations} == {"stale"}


def test_a_workload_that_calls_failures_success_is_caught(members: dict[str, Server]) -> None:
    writer = members["db-1"]
    prepare(settings(writer))

    def liar(number: int, note: Callable[[Operation], None]) -> Client:
        return Client(settings(writer), number, lambda op: note(op.model_copy(update={"outcome": "ok"})))

    load = Load(liar)
    with load.running():
        load.acknowledged(30)
        writer.end()
        before = len(load.history)
        wait(lambda: len(load.history) > before + 30, "attempts on a dead member")
    findings = found(load, members["db-2"], members["db-3"])
    assert findings.count("lost") > 0
    writer.start()
    whole_again(members)


def whole_again(members: dict[str, Server]) -> None:
    for member in members.values():
        if not online(member):
            join(member)
    wait(lambda: all(online(m) == 3 for m in members.values()), "the group is not whole")


def test_a_member_that_acknowledges_and_forgets_is_caught(members: dict[str, Server]) -> None:
    """Power is lost and the disk has not what it said it had: its state of a moment before comes back.

    The last test: the group has no one history after it.
    """
    alone = members["db-1"]
    prepare(settings(alone))
    load = Load(lambda number, note: Client(settings(alone), number, note))
    data, kept = alone.folder / "data", alone.folder / "unflushed"
    with load.running():
        load.acknowledged(30)
        assert alone.process is not None
        alone.process.send_signal(signal.SIGSTOP)
        shutil.copytree(data, kept)
        alone.process.send_signal(signal.SIGCONT)
        before = sum(op.acknowledged for op in load.history)
        load.acknowledged(before + 30)
        for member in members.values():
            member.end()
    shutil.rmtree(data)
    kept.rename(data)
    for member in members.values():
        member.start()
    join(alone, bootstrap=True)
    findings = found(load, alone)
    assert findings.count("lost") > 0
    assert {v.fault for v in findings.violations} == {"lost"}
