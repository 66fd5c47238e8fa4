"""The keeper beside the role's own routers: a cut edge of one leaves no session of the other behind."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbooks.database.onhost.gate import STATE, USERS, Gate
from runbooks.database.onhost.router import Router, ask_router
from tests.beds.routers import ROLE, Bed, program, routers
from tests.waiting import eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(program() is None, reason="no haproxy; YIYUN_TEST_HAPROXY names one")
KEEPER = ROLE / "files/yiyun_db_keeper.py"
NOWHERE = "127.0.1.99"
ENDED_SECONDS = 1.0
"""Within so long of the table's move."""


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Fresh routers; each leads to db-1, and has a program beside it."""
    with routers(tmp_path) as made:
        settle(made)
        yield made


def settle(bed: Bed) -> None:
    """Until the routers share their table."""
    for admin in bed.admin.values():
        eventually(lambda admin=admin: "last_status=ESTA" in ask_router("show peers", admin), seconds=20)
    eventually(lambda: {look(bed, name)["held"] for name in bed.admin} == {"db-1"})


def beside(bed: Bed, router: str) -> Router:
    return Router(bed.admin[router], gate_of(bed, router), bed.door[router])


def gate_of(bed: Bed, router: str) -> Gate:
    folder = Path(bed.admin[router]).with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / USERS).touch()
    return Gate(folder)


def look(bed: Bed, router: str) -> dict[str, object]:
    return beside(bed, router).look()


@contextmanager
def keeper(bed: Bed, router: str) -> Iterator[list[str]]:
    """The role's program beside a router. Afterwards the list has the lines it said."""
    argv = [sys.executable, "-B", str(KEEPER), bed.admin[router], str(gate_of(bed, router).folder / STATE)]
    said: list[str] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield said
            assert process.poll() is None, "it has ended by itself"
        finally:
            process.terminate()
            said += process.communicate()[0].splitlines()


def cut(bed: Bed, router: str, member: str) -> None:
    """Lead the router's edge to a member into nothing: its checks find that out."""
    ask_router(f"set server writer/{member} addr {NOWHERE}", bed.admin[router])
    eventually(lambda: status(bed, router)[member].startswith("DOWN"), every=0.02)


def status(bed: Bed, router: str) -> dict[str, str]:
    return {m["name"]: m["status"] for m in beside(bed, router).look()["members"]}


def table_moves(bed: Bed) -> None:
    """Router app-1 loses db-1, and its next session moves the table that both share."""
    cut(bed, "app-1", "db-1")

    def moved() -> bool:
        """Each session tells it anew: peers whose connections crossed at the start may swap old entries."""
        session, member = bed.session("app-1")
        session.close()
        return member == "db-2" and look(bed, "app-2")["held"] == "db-2"

    eventually(moved, every=0.02)


def is_open(session: socket.socket, seconds: float) -> bool:
    """Whether a session is still open after so long."""
    session.settimeout(seconds)
    try:
        return session.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False


def test_without_a_keeper_the_other_routers_sessions_stay(bed: Bed) -> None:
    old, member = bed.session("app-2")
    assert member == "db-1"
    table_moves(bed)
    assert bed.session("app-2")[1] == "db-2", "new sessions follow the table"
    assert is_open(old, 2 * ENDED_SECONDS)


def test_the_keeper_ends_them_and_no_others(bed: Bed) -> None:
    old, member = bed.session("app-2")
    assert member == "db-1"
    with keeper(bed, "app-1"), keeper(bed, "app-2") as said:
        assert is_open(old, 1.0), "before anything has moved"
        table_moves(bed)
        new, _ = bed.session("app-2")
        began = time.monotonic()
        assert not is_open(old, 5 * ENDED_SECONDS)
        assert time.monotonic() - began < ENDED_SECONDS
        assert is_open(new, ENDED_SECONDS)
    assert said == ["1 session(s) on db-1 are ended: the routers hold db-2"]


def test_two_routers_with_different_cut_edges_do_not_end_each_others_sessions(bed: Bed) -> None:
    old, member = bed.session("app-2")
    assert member == "db-1"
    cut(bed, "app-2", "db-2")
    with keeper(bed, "app-1"), keeper(bed, "app-2"):
        table_moves(bed)
        assert is_open(old, 2 * ENDED_SECONDS)


def test_it_waits_for_the_gate(bed: Bed) -> None:
    old, member = bed.session("app-2")
    assert member == "db-1"
    table_moves(bed)
    gate = gate_of(bed, "app-2")
    gate.close(2.0)
    with keeper(bed, "app-2"):
        assert is_open(old, 1.2)
        gate.open(discard=False)
        assert not is_open(old, ENDED_SECONDS)


def test_a_planned_switch_ends_the_sessions_itself_however_slow_it_is(bed: Bed) -> None:
    old, member = bed.session("app-2")
    assert member == "db-1"
    first, second = beside(bed, "app-1"), beside(bed, "app-2")
    with keeper(bed, "app-1") as said_first, keeper(bed, "app-2") as said_second:
        for router in (first, second):
            router.close(2.0, 0.1)
        first.turn("db-2")
        assert is_open(old, 0.7), "this router has not turned yet"
        second.turn("db-2")
        assert not is_open(old, 0.3)
        for router in (first, second):
            router.open(discard=True)
        new, member = bed.session("app-2")
        assert member == "db-2"
        assert is_open(new, 0.7)
    assert said_first + said_second == []


def test_a_router_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    bed = Bed({"app-2": str(folder / "app-2.sock")}, {}, {})
    with keeper(bed, "app-2") as said:
        with routers(folder) as made:
            settle(made)
            old, member = made.session("app-2")
            assert member == "db-1"
            table_moves(made)
            assert not is_open(old, 2 * ENDED_SECONDS)
        time.sleep(0.6)  # gone again: at least two looks
    assert len(said) == 1


def test_a_router_that_missed_the_word_is_told_again_though_no_session_comes(bed: Bed) -> None:
    router = beside(bed, "app-1")
    router.close(2.0, 0.1)
    router.turn("db-3")
    router.open(discard=False)
    eventually(lambda: look(bed, "app-2")["held"] == "db-3")
    ask_router("clear table writer", bed.admin["app-2"])
    assert look(bed, "app-2")["writer"] == "db-1", "two writers"
    with keeper(bed, "app-1"):
        eventually(lambda: look(bed, "app-2")["held"] == "db-3", seconds=5)
