"""The program beside a router, against the role's own routers: two of them with a shared table."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from runbooks.database.onhost.gate import USERS, Gate
from runbooks.database.onhost.router import NOTE, NotDoneError, Router, ask_router
from runbooks.database.picture import Member, Picture, problems, router_of
from runbooks.database.repairing import common_writer, repair
from tests.beds.routers import Bed, program, routers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(program() is None, reason="no haproxy; YIYUN_TEST_HAPROXY names one")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with routers(tmp_path_factory.mktemp("routers")) as made:
        yield made


@pytest.fixture
def pair(bed: Bed, tmp_path: Path) -> Iterator[dict[str, Router]]:
    """Both routers' programs; every member ready again, and db-1 the writer."""
    made = {}
    for name in bed.admin:
        folder = tmp_path / name
        folder.mkdir()
        (folder / USERS).touch()
        made[name] = Router(bed.admin[name], Gate(folder), bed.door[name])
        made[name].close(1.9, 0.1)
    for router in made.values():
        router.turn("db-1")
    for router in made.values():
        router.open(discard=False)
    eventually(lambda: all(up(r) == 3 for r in made.values()))
    yield made
    for router in made.values():
        router.back()


def test_the_beds_member_greets_after_clients_that_went_at_once(bed: Bed) -> None:
    """The router's own checks and impatient callers reset: once that ended a member's greetings for good."""
    member = bed.members["db-2"]
    for _ in range(200):
        gone = socket.create_connection((member.address, member.port))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
    with socket.create_connection((member.address, member.port), timeout=2) as session:
        assert session.recv(1)


def up(router: Router) -> int:
    return sum(m["up"] for m in router.look()["members"])


def eventually(check, seconds: float = 5.0) -> None:
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit
        time.sleep(0.02)


def switch(pair: dict[str, Router], to: str) -> None:
    for router in pair.values():
        assert router.close(2.0, 0.1)["empty"]
    for router in pair.values():
        assert router.turn(to)["held"] == to
    assert {r.held()["held"] for r in pair.values()} == {to}
    for router in pair.values():
        router.open(discard=True)


@pytest.mark.parametrize("to", ["db-2", "db-3"])
def test_a_switch_leads_new_sessions_to_the_member_and_ends_the_old_ones(
    bed: Bed, pair: dict[str, Router], to: str
) -> None:
    old = [bed.session(name) for name in pair]
    assert {member for _, member in old} == {"db-1"}
    switch(pair, to)
    for session, _ in old:
        session.settimeout(2)
        assert session.recv(1) == b"", "the old session goes on"
    for name, router in pair.items():
        assert bed.session(name)[1] == to
        seen = router.look()
        assert (seen["writer"], seen["left"]) == (to, None)
        assert not any(m["maintenance"] for m in seen["members"])
        assert seen["gate_closed_s"] == 0
    eventually(lambda: all(up(r) == 3 for r in pair.values()))
    assert {bed.session(name)[1] for name in pair} == {to}, "the old writer came back to its place"


def test_the_old_writer_is_the_next_one_when_the_new_one_fails(bed: Bed, pair: dict[str, Router]) -> None:
    switch(pair, "db-2")
    eventually(lambda: all(up(r) == 3 for r in pair.values()))
    bed.members["db-2"].ready = False
    try:
        eventually(lambda: {bed.session(name)[1] for name in pair} == {"db-1"})
    finally:
        bed.members["db-2"].ready = True


def test_no_member_is_put_away_under_an_open_gate_or_one_that_opens_soon(pair: dict[str, Router]) -> None:
    router = pair["app-1"]
    with pytest.raises(NotDoneError, match="too soon"):
        router.turn("db-2")
    router.close(0.3, 0.1)
    with pytest.raises(NotDoneError, match="too soon"):
        router.turn("db-2")
    assert router.look()["writer"] == "db-1"


def test_a_turn_to_a_member_that_does_not_serve_is_refused_and_can_be_turned_back(
    bed: Bed, pair: dict[str, Router]
) -> None:
    router = pair["app-1"]
    bed.members["db-3"].ready = False
    try:
        eventually(lambda: up(router) == 2)
        router.close(2.0, 0.1)
        with pytest.raises(NotDoneError, match="does not lead to db-3"):
            router.turn("db-3")
        router.turn("db-1")
        router.open(discard=True)
        assert bed.session("app-1")[1] == "db-1"
        assert router.look()["left"] is None
    finally:
        bed.members["db-3"].ready = True


def test_a_controller_that_dies_leaves_nothing(bed: Bed, pair: dict[str, Router]) -> None:
    """Killed after one router has turned and the other has not: both lead to the new one, nobody waits."""
    stayed, _ = bed.session("app-2")
    for router in pair.values():
        router.close(2.0, 0.1)

    def told() -> bool:
        """By its peer; again when what the other had to tell came across."""
        return pair["app-1"].turn("db-2") and pair["app-2"].held()["held"] == "db-2"

    eventually(told)
    for router in pair.values():
        router.ended()
    for name, router in pair.items():
        seen = router.look()
        assert (seen["gate_closed_s"], seen["left"]) == (0, None)
        assert not any(m["maintenance"] for m in seen["members"])
        assert bed.session(name)[1] == "db-2"
    stayed.settimeout(2)
    assert stayed.recv(1) == b"", "a session stayed on the member that is the writer no more"


def test_a_gate_whose_time_is_over_is_undone_by_the_program_itself(pair: dict[str, Router]) -> None:
    router = pair["app-1"]
    router.close(0.6, 0.1)
    router.turn("db-2")
    router.tick()
    assert router.look()["left"] == {"to": "db-2", "put": ["db-1", "db-3"]}
    eventually(lambda: router.look()["gate_closed_s"] == 0)
    router.tick()
    assert router.look()["left"] is None


def test_what_two_dead_programs_left_is_put_back_by_the_next_one(
    bed: Bed, pair: dict[str, Router], tmp_path: Path
) -> None:
    """`yiyun db status --repair`: the controller and the program on the host were both killed."""
    pair["app-1"].close(2.0, 0.1)
    pair["app-1"].turn("db-2")
    later = Router(bed.admin["app-1"], Gate(tmp_path / "app-1"), bed.door["app-1"])
    assert later.look()["left"] == {"to": "db-2", "put": ["db-1", "db-3"]}
    assert "db-1 was in maintenance" in later.back()["undone"]
    assert not any(m["maintenance"] for m in later.look()["members"])
    assert later.back() == {"undone": []}
    assert not (tmp_path / "app-1" / NOTE).exists()


def test_maintenance_by_hand_is_left_alone(bed: Bed, pair: dict[str, Router]) -> None:
    ask_router("set server writer/db-3 state maint", bed.admin["app-1"])
    try:
        switch(pair, "db-2")
        assert [m["name"] for m in pair["app-1"].look()["members"] if m["maintenance"]] == ["db-3"]
    finally:
        ask_router("set server writer/db-3 state ready", bed.admin["app-1"])


def test_an_elected_member_is_taken_before_the_routers_own_checks_know(
    bed: Bed, pair: dict[str, Router]
) -> None:
    bed.members["db-2"].ready = False
    eventually(lambda: all(up(r) == 2 for r in pair.values()))
    for router in pair.values():
        router.close(2.0, 0.1)
    bed.members["db-2"].ready = True
    began = time.monotonic()
    for router in pair.values():
        assert router.turn("db-2", elected=True)["held"] == "db-2"
    assert time.monotonic() - began < 0.35
    for router in pair.values():
        router.open(discard=True)


class Handle:
    """A router's program, asked as over a session."""

    def __init__(self, router: Router) -> None:
        self.router = router

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        return self.router.handlers[what](**arguments)


class RoutersOnly:
    """Hands on routers whose members are all well."""

    def __init__(self, routers: dict[str, Router]) -> None:
        self.routers = {name: Handle(router) for name, router in routers.items()}

    def look(self) -> Picture:
        members = tuple(Member(n, answers=True, ready=True) for n in ("db-1", "db-2", "db-3"))
        return Picture(members, tuple(router_of(n, h.ask("look")) for n, h in self.routers.items()))


def test_routers_that_hear_nothing_of_each_other_are_named_and_settled_by_repair(tmp_path: Path) -> None:
    with routers(tmp_path, apart=True) as bed:
        made = {}
        for name in bed.admin:
            (tmp_path / f"{name}.gate").mkdir()
            (tmp_path / f"{name}.gate" / USERS).touch()
            made[name] = Router(bed.admin[name], Gate(tmp_path / f"{name}.gate"), bed.door[name])
        hands: Any = RoutersOnly(made)
        made["app-2"].close(2.0, 0.1)
        made["app-2"].turn("db-3")
        made["app-2"].open(discard=False)
        session, member = bed.session("app-2")
        assert member == "db-3"
        said = list(problems(hands.look()))
        assert any("do not agree on one writer (app-1: db-1, app-2: db-3" in line for line in said)
        assert any("app-1 is not connected to the router on app-2" in line for line in said)
        eventually(lambda: common_writer(hands.look()) == "db-1")
        assert repair(hands) == ["app-2: it led to db-3, and leads to db-1 now, as the others"]
        assert hands.look().writer == "db-1"
        session.settimeout(2)
        assert session.recv(1) == b"", "a session on the other member goes on"
        assert bed.session("app-2")[1] == "db-1"
        assert repair(hands) == []
