"""The keeper ends what another router's move left behind, and in every doubt nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runbooks.database.onhost.gate import STATE, Gate, State, boot_ns
from tests.programs import load_program

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = Path(__file__).parents[3] / "playbooks/roles/db_router/files"
EMPTY = "# table: writer, type: integer, size:2, used:0\n\n"


@pytest.fixture(scope="module")
def keeper() -> Any:
    load_program(FILES / "yiyun_db_writer.py")
    return load_program(FILES / "yiyun_db_keeper.py")


def holds(member: str) -> str:
    entry = f"0x7f0c: key=1 use=0 exp=0 shard=0 server_id=2 server_key={member}\n\n"
    return EMPTY.replace("used:0\n\n", "used:1\n") + entry


def stat(*members: tuple[str, int]) -> str:
    """(status, open sessions) of db-1, db-2, …"""
    rows = [f"writer,db-{n},{sessions},{status},L7OK" for n, (status, sessions) in enumerate(members, 1)]
    return "\n".join(["# pxname,svname,scur,status,check_status", *rows, "writer,BACKEND,9,UP,", "", ""])


UP, USED = ("UP", 0), ("UP", 3)
TABLE, STRAY = holds("db-2"), stat(USED, USED, UP)
"""The table holds db-2, and db-1 has three sessions here."""


def twice(
    keeper: Any,
    table: str = TABLE,
    members: str = STRAY,
    *,
    first: tuple[str, str] = (TABLE, STRAY),
    closed: tuple[bool, bool] = (False, False),
) -> set[str]:
    """Whose sessions the second of two looks ends."""
    before = keeper.look(*first, gate_closed=closed[0], before=keeper.Look())
    assert not before.end, "at the first look"
    return set(keeper.look(table, members, gate_closed=closed[1], before=before).end)


def test_sessions_beside_the_writer_at_two_looks_are_ended(keeper: Any) -> None:
    assert twice(keeper) == {"db-1"}


def test_the_writers_own_sessions_and_members_without_any_are_left(keeper: Any) -> None:
    assert twice(keeper, members=stat(UP, USED, UP), first=(TABLE, stat(UP, USED, UP))) == set()


def test_one_look_is_not_enough_of_any_member(keeper: Any) -> None:
    assert twice(keeper, members=stat(UP, USED, USED)) == set()


def test_a_table_that_moves_between_two_looks_is_waited_for(keeper: Any) -> None:
    assert twice(keeper, first=(holds("db-3"), STRAY)) == set()


@pytest.mark.parametrize("status", ["DOWN", "DOWN 1/2", "NOLB", "DRAIN", "MAINT"])
def test_nothing_is_done_for_a_writer_that_is_not_up_here(keeper: Any, status: str) -> None:
    """Two routers with different cut edges would end each other's sessions by turns."""
    down = stat(USED, (status, 0), UP)
    assert twice(keeper, members=down, first=(TABLE, down)) == set()
    assert twice(keeper, first=(TABLE, down)) == set(), "it has just come back"


def test_nothing_is_done_for_an_empty_table_or_a_member_nobody_knows(keeper: Any) -> None:
    assert twice(keeper, EMPTY, first=(EMPTY, STRAY)) == set()
    assert twice(keeper, holds("db-9"), first=(holds("db-9"), STRAY)) == set()
    assert twice(keeper, "", "", first=("", "")) == set()


@pytest.mark.parametrize("status", ["MAINT", "MAINT (via writer/db-1)"])
def test_nothing_is_done_while_any_member_is_in_maintenance(keeper: Any, status: str) -> None:
    turning = stat(USED, USED, (status, 0))
    assert twice(keeper, members=turning) == set()
    assert twice(keeper, first=(TABLE, turning)) == set(), "a switch has just ended"


@pytest.mark.parametrize("closed", [(True, True), (False, True), (True, False)])
def test_nothing_is_done_behind_a_closed_gate_and_two_looks_begin_anew(
    keeper: Any, closed: tuple[bool, bool]
) -> None:
    assert twice(keeper, closed=closed) == set()


def test_sessions_on_a_member_that_is_lost_here_are_the_routers_own_affair(keeper: Any) -> None:
    lost = stat(("DOWN", 3), USED, UP)
    assert twice(keeper, members=lost, first=(TABLE, lost)) == set()


class Host:
    """A router's socket and a gate, as a keeper meets them."""

    def __init__(self, keeper: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.told_again = 0
        self.table, self.members, self.away = TABLE, STRAY, False
        self.gate = Gate(folder)
        self.at_stat: Callable[[], None] = lambda: None
        monkeypatch.setattr(keeper, "ask", self._ask)
        self.keeper = keeper.Keeper("its.sock", str(folder / STATE))

    def _ask(self, command: str, path: str) -> str:
        assert path == "its.sock"
        if self.away:
            raise ConnectionRefusedError("nobody")
        if command.startswith("show table"):
            return self.table
        if command.startswith("show stat"):
            self.at_stat()
            return self.members
        if command == "set table writer key 1":
            self.told_again += 1
        else:
            self.told.append(command)
        return "\n"

    def steps(self, count: int) -> list[str]:
        return [line for _ in range(count) for line in self.keeper.step()]


@pytest.fixture
def host(keeper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(keeper, tmp_path, monkeypatch)


def test_it_tells_the_router_at_the_second_look_and_says_so_once(host: Host) -> None:
    assert host.steps(1) == []
    assert host.told == []
    said = host.steps(3)  # they take a while to go
    assert said == ["3 session(s) on db-1 are ended: the routers hold db-2"]
    assert host.told == ["shutdown sessions server writer/db-1"] * 3
    host.members = stat(UP, USED, UP)
    host.steps(1)
    host.members = STRAY
    assert len(host.steps(2)) == 1, "the next time is news again"


def test_the_other_routers_are_told_again_what_is_held_while_nothing_moves(host: Host, keeper: Any) -> None:
    host.members = stat(UP, USED, UP)
    host.steps(keeper.TELL_LOOKS)
    assert host.told_again == 0, "a look has nothing before it"
    host.steps(1)
    assert host.told_again == 1
    host.steps(3 * keeper.TELL_LOOKS)
    assert host.told_again == 4


@pytest.mark.parametrize("how", ["moves", "down", "switch", "gate", "away"])
def test_nothing_is_told_while_anything_moves(host: Host, keeper: Any, how: str) -> None:
    host.members = stat(UP, USED, UP)
    for turn in range(4 * keeper.TELL_LOOKS):
        if how == "moves":
            host.table = holds(f"db-{2 + turn % 2}")
        elif how == "down":
            host.members = stat(UP, ("DOWN", 0), UP)
        elif how == "switch":
            host.members = stat(("MAINT", 0), USED, UP)
        elif how == "gate":
            host.gate.close(2.0)
        host.away = how == "away"
        host.steps(1)
    assert host.told_again == 0


def test_a_router_that_is_away_is_waited_for_and_named_once(host: Host, keeper: Any) -> None:
    host.steps(1)
    host.away = True
    assert host.steps(keeper.SILENT_LOOKS - 1) == [], "a restart is no news"
    assert host.steps(3 * keeper.SILENT_LOOKS) == ["the router does not answer: nobody"]
    host.away = False
    assert host.steps(1) == []
    assert host.told == [], "a look from before the silence counts no more"
    host.steps(1)
    assert host.told


@pytest.mark.parametrize("cut", ["table", "members"])
def test_half_an_answer_is_none(host: Host, cut: str) -> None:
    host.steps(1)
    setattr(host, cut, getattr(host, cut)[:-1])
    assert host.steps(1) == []
    assert host.told == []


def test_a_gate_closed_by_the_switch_is_closed_here(host: Host) -> None:
    host.steps(1)
    host.gate.close(2.0)
    host.steps(2)
    assert host.told == []
    host.gate.open(discard=True)
    host.steps(2)
    assert host.told == ["shutdown sessions server writer/db-1"]


def test_a_gate_that_closes_during_the_look_is_seen(host: Host) -> None:
    host.steps(1)
    host.at_stat = lambda: host.gate.close(2.0)
    host.steps(1)
    assert host.told == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"until_ns": "x"}', '{"discard_ns": 1}', "\xff"])
def test_a_damaged_gate_is_open_as_for_everybody(host: Host, text: str) -> None:
    (host.gate.folder / STATE).write_text(text, encoding="latin-1")
    assert not host.gate.state().closed_for(boot_ns())
    host.steps(2)
    assert host.told


@pytest.mark.parametrize("seconds", [-1.0, 3600.0])
def test_a_gate_of_the_past_or_for_too_long_is_open(host: Host, seconds: float) -> None:
    host.gate.write(State(boot_ns() + int(seconds * 1e9)))
    assert not host.gate.state().closed_for(boot_ns())
    host.steps(2)
    assert host.told
