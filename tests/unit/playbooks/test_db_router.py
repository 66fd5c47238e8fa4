"""Who the writer is, from the router's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbooks.database.onhost.router import apart_of
from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "playbooks/roles/db_router/files/yiyun_db_writer.py"
EMPTY = "# table: writer, type: integer, size:2, used:0\n\n"
HELD = EMPTY.replace("used:0\n\n", "used:1\n") + (
    "0x7f0c: key=1 use=0 exp=0 shard=0 server_id=2 server_key=db-2\n\n"
)


@pytest.fixture(scope="module")
def command() -> ModuleType:
    return load_program(SOURCE)


def stat(*statuses: str) -> str:
    rows = [f"writer,db-{i},{5 if i == 2 else 0},{s},L7OK" for i, s in enumerate(statuses, 1)]
    return "\n".join(["# pxname,svname,scur,status,check_status", *rows, "writer,BACKEND,0,UP,", ""])


def test_the_member_in_the_shared_table_is_the_writer(command: ModuleType) -> None:
    found = command.writer_of(HELD, stat("UP", "UP", "UP"))
    assert (found["writer"], found["held"]) == ("db-2", True)
    assert found["members"][1] == {
        "name": "db-2",
        "up": True,
        "status": "UP",
        "check": "L7OK",
        "sessions": 5,
    }


def test_sessions_on_another_member_that_is_up_are_stray(command: ModuleType) -> None:
    held_by_3 = HELD.replace("db-2", "db-3")
    assert command.writer_of(HELD, stat("UP", "UP", "UP"))["stray"] == {}
    assert command.writer_of(held_by_3, stat("UP", "UP", "UP"))["stray"] == {"db-2": 5}
    assert command.writer_of(held_by_3, stat("UP", "DOWN", "UP"))["stray"] == {}, "the router ends those"


def test_before_the_first_session_it_is_the_first_member_that_is_up(command: ModuleType) -> None:
    found = command.writer_of(EMPTY, stat("DOWN", "UP", "UP"))
    assert (found["writer"], found["held"]) == ("db-2", False)


def test_a_held_member_that_is_down_is_no_writer(command: ModuleType) -> None:
    found = command.writer_of(HELD, stat("UP", "DOWN 1/2", "UP"))
    assert (found["writer"], found["held"]) == ("db-1", False)


def test_with_no_member_up_there_is_no_writer(command: ModuleType) -> None:
    assert command.writer_of(HELD, stat("DOWN", "DOWN", "MAINT"))["writer"] is None


def test_a_member_that_is_going_down_still_counts_as_up(command: ModuleType) -> None:
    assert command.writer_of(HELD, stat("UP", "UP 1/2", "UP"))["writer"] == "db-2"


def test_no_router_is_an_error_with_a_reason(
    command: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_question: str) -> str:
        raise FileNotFoundError("no socket")

    monkeypatch.setattr(command, "ask", refuse)
    assert command.main() == 1
    assert "no socket" in capsys.readouterr().out


PEERS = """0x5581: [28/Nov/2026:15:12:56] id=routers disabled=0 flags=0x28100001 task_calls=4
  0x5582: id=app-2(remote,active) addr=10.20.1.11:10001 app_state=RUNNING last_status=ESTA last_hdshk=0s
        reconnect=4s heartbeat=2s confirm=0
  0x5583: id=app-1(local,inactive) addr=10.20.1.10:10001 app_state=STOPPED last_status=NONE last_hdshk=<NEVER>
"""


@pytest.mark.parametrize(("status", "apart"), [("ESTA", []), ("CONN", ["app-2"]), ("NONE", ["app-2"])])
def test_a_router_that_is_not_connected_is_named(command: ModuleType, status: str, apart: list[str]) -> None:
    peers = PEERS.replace("last_status=ESTA", f"last_status={status}")
    assert command.apart(peers) == apart_of(peers) == apart
