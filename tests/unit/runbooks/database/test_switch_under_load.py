"""The planned switch as a whole: real servers, the role's routers, the drill's workload behind the gate.

What it measures on this machine is printed (`-s`); the promised figures are the lab's to show.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from infra.errors import RefusedError, YiyunError
from runbooks.database.ground import Hands, Tier
from runbooks.database.onhost.gate import USERS, Gate
from runbooks.database.planning import SwitchPlan, plan_switch
from runbooks.database.repairing import repair
from runbooks.database.session import BOOT, Session, program
from runbooks.database.switching import BusyError, switch
from runbooks.drills.workloads.database import Client, Settings, connected, prepare
from tests.beds import routers as routers_bed
from tests.beds.members import PASSWORD, Server, group, server, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runbooks.drills.evidence.history import Operation

pytestmark = [
    pytest.mark.skipif(
        server() is None or routers_bed.program() is None,
        reason="no mysqld and haproxy; YIYUN_TEST_MYSQLD and YIYUN_TEST_HAPROXY name them",
    ),
    pytest.mark.timeout(300),
]
MEMBERS, ROUTERS = ("db-1", "db-2", "db-3"), ("app-1", "app-2")
RATE, CLIENTS = 80.0, 8


class Bed:
    """Everything a switch needs, and a load."""

    def __init__(self, folder: Path, servers: dict[str, Server], routers: routers_bed.Bed) -> None:
        self.folder, self.servers, self.routers = folder, servers, routers
        self.tier = Tier(MEMBERS, ROUTERS, ("127.0.0.1",))
        self.history: list[Operation] = []

    def gate(self, router: str) -> Gate:
        return Gate(self.folder / "gates" / router)

    def session(self, host: str) -> Session:
        if host in ROUTERS:
            address, port = self.routers.door[host]
            told: dict[str, Any] = {"admin": self.routers.admin[host], "gate": str(self.gate(host).folder)}
            sent = program("router", told | {"address": address, "port": port})
        else:
            config = self.folder / f"{host}.json"
            addresses = {s.name: s.address for s in self.servers.values()}
            config.write_text(json.dumps(self.servers[host].config(addresses)))
            health = self.routers.members[host].health_port
            sent = program("member", {"health_port": health, "config": str(config)})
        return Session(host, [sys.executable, "-c", BOOT], sent).started()

    def hands(self, stack: ExitStack) -> Hands:
        opened = {host: self.session(host) for host in (*MEMBERS, *ROUTERS)}
        for session in opened.values():
            stack.callback(session.close)
        return Hands(self.tier, {n: opened[n] for n in MEMBERS}, {n: opened[n] for n in ROUTERS}, {})

    def settings(self, router: str) -> Settings:
        address, port = self.routers.door[router]
        authority = (self.servers["db-1"].folder / "ca.pem").read_text()
        return Settings(
            host=address,
            port=port,
            user="yiyun_drill",
            password=PASSWORD,
            database="yiyun_drill",
            authority=authority,
            connect_timeout=2.0,
            read_timeout=10.0,
            clients=CLIENTS,
            rate=RATE,
            seconds=120,
            seed=1,
            gate=str(self.gate(router).folder),
        )

    def load(self, stack: ExitStack) -> None:
        """Clients of both routers, until the stack ends."""
        self.history, stopped = [], threading.Event()
        began = time.monotonic()
        clients = [Client(self.settings(ROUTERS[n % 2]), n, self.history.append) for n in range(CLIENTS)]
        threads = [threading.Thread(target=c.run, args=(began, stopped)) for c in clients]
        for thread in threads:
            thread.start()

        def end() -> None:
            stopped.set()
            for thread in threads:
                thread.join()

        stack.callback(end)

    def not_ok(self) -> list[str]:
        return [f"{op.kind} {op.outcome} {op.error}" for op in self.history if op.outcome != "ok"]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("switch")
    with group(folder) as servers, routers_bed.routers(folder, servers["db-1"].port) as routers:
        made = Bed(folder, servers, routers)
        for router in ROUTERS:
            made.gate(router).folder.mkdir(parents=True)
            (made.gate(router).folder / USERS).touch()
        prepare(made.settings("app-1"))
        yield made


def plan(hands: Hands, to: str) -> SwitchPlan:
    seen = hands.look()
    assert seen.writer is not None
    return SwitchPlan(seen.writer, to, False, seen.member(to).uuid)


def other(hands: Hands) -> str:
    return next(n for n in MEMBERS if n != hands.look().writer)


def said(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def test_switches_under_load_fail_no_transaction(bed: Bed) -> None:
    with ExitStack() as stack:
        hands = bed.hands(stack)
        pauses = []
        with ExitStack() as load:
            bed.load(load)
            time.sleep(1)
            for number in range(4):
                to = MEMBERS[number % 3] if hands.look().writer != MEMBERS[number % 3] else other(hands)
                done = switch(plan(hands, to), hands, said)
                pauses.append(done.pause)
                said(f"{done.old} → {done.to}: {done.pause * 1000:.0f} ms, {done.tries} tries, {done.steps}")
                time.sleep(0.6)
                seen = hands.look()
                assert seen.writer == to
                assert {n for r in seen.routers for n, count in r.sessions.items() if count} == {to}
        waits = sorted(op.ended - op.intended for op in bed.history)
        said(
            f"{len(waits)} operations, longest {waits[-1] * 1000:.0f} ms, p99 {waits[-len(waits) // 100]:.3f}"
        )
        assert not bed.not_ok()
        assert max(pauses) < 1.0
        assert sum(m.conflicts for m in hands.look().members) == 0, "two writers at once"


def test_a_long_transaction_stops_the_switch_and_nothing_else(bed: Bed) -> None:
    with ExitStack() as stack:
        hands = bed.hands(stack)
        before = hands.look().writer
        gate = bed.gate("app-2")
        with ExitStack() as load:
            bed.load(load)
            time.sleep(0.3)
            with gate.passed(), pytest.raises(BusyError, match="app-2"):
                switch(plan(hands, other(hands)), hands, said)
        assert not bed.not_ok()
        assert hands.look().writer == before
        assert [r.gate_closed_s for r in hands.look().routers] == [0, 0]


def test_a_transaction_past_the_gate_is_waited_for_too(bed: Bed) -> None:
    with ExitStack() as stack:
        hands = bed.hands(stack)
        seen = hands.look()
        settings = bed.settings("app-1")
        session = connected(settings)
        stack.callback(session.close)
        session.cursor().execute("SELECT COUNT(*) FROM accounts")
        with pytest.raises(BusyError, match=f"yiyun_drill on 127.0.0.1 .session {session.thread_id()}"):
            switch(plan(hands, other(hands)), hands, said)
        session.commit()
        assert hands.look().writer == seen.writer
        switch(plan(hands, other(hands)), hands, said)


def test_a_switch_whose_proof_fails_changes_nothing(bed: Bed) -> None:
    """The new writer cannot commit: its row of the probe table is held by somebody."""
    with ExitStack() as stack:
        hands = bed.hands(stack)
        to, before = other(hands), hands.look().writer
        bed.servers[to].run("SET GLOBAL super_read_only = ON")
        try:
            with pytest.raises(YiyunError, match=r"read.only"):
                switch(plan(hands, to), hands, said)
        finally:
            bed.servers[to].run("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
        assert hands.look().writer == before


def test_a_controller_that_is_killed_in_the_middle_leaves_one_writer_and_no_gate(bed: Bed) -> None:
    """The new one, or the old one: a session that the other router had on its way tells what it got, too."""
    with ExitStack() as stack:
        hands = bed.hands(stack)
        old, to = hands.look().writer, other(hands)
        with ExitStack() as load:
            bed.load(load)
            time.sleep(0.3)
            for name in ROUTERS:
                hands.routers[name].ask("close", closed_s=2.0, limit=0.2)
            hands.routers["app-1"].ask("turn", to=to)
            for name in ROUTERS:  # what a killed controller's sessions come to
                hands.routers[name].close()  # pyright: ignore[reportAttributeAccessIssue]
            time.sleep(0.5)
        assert not bed.not_ok()
        with ExitStack() as again:
            later = bed.hands(again)
            wait(lambda: later.look().writer is not None, "the routers do not agree", 5)
            seen = later.look()
        assert seen.writer in {old, to}
        assert [(r.left, r.gate_closed_s) for r in seen.routers] == [((), 0), ((), 0)]


def test_when_the_program_on_the_host_is_killed_too_the_gate_opens_and_repair_does_the_rest(bed: Bed) -> None:
    with ExitStack() as stack:
        hands = bed.hands(stack)
        old, to = hands.look().writer, other(hands)
        for name in ROUTERS:
            hands.routers[name].ask("close", closed_s=2.0, limit=0.2)
        hands.routers["app-1"].ask("turn", to=to)
        for name in ROUTERS:
            os.kill(hands.routers[name]._process.pid, signal.SIGKILL)  # pyright: ignore[reportAttributeAccessIssue]
        began = time.monotonic()
        with bed.gate("app-2").passed():
            assert time.monotonic() - began < 2.2
        later = bed.hands(stack)
        left = later.look()
        assert old in left.routers[0].left
        assert any("was in maintenance" in line for line in repair(later))
        wait(lambda: later.look().writer in {old, to}, "the routers do not agree", 5)
        assert not later.look().routers[0].left


def test_the_plan_refuses_what_cannot_be(bed: Bed) -> None:
    with ExitStack() as stack:
        hands = bed.hands(stack)
        to = other(hands)
        bed.routers.members[to].ready = False
        try:
            wait(lambda: hands.look().routers[0].status[to].startswith("DOWN"), "still up", 5)
            with pytest.raises(RefusedError, match=f"{to} is DOWN"):
                plan_switch(hands.look(), to)
        finally:
            bed.routers.members[to].ready = True
