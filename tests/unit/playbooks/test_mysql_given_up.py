"""Members that an operator gave up: noted before a smaller group forms, struck out as they come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

ROLE = Path(__file__).parents[3] / "playbooks/roles/mysql/files"
NAMES = ("db-1", "db-2", "db-3")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("group_plan", "mysql_passwords", "mysql_accounts"):
        load_program(ROLE / f"{name}.py")
    loaded = load_program(ROLE / "mysql_group.py")
    monkeypatch.setattr(loaded, "GIVEN_UP", tmp_path / "state" / "given-up.json")
    return loaded


@pytest.fixture
def group(program: ModuleType) -> Any:
    login = program.Login("root", "none")
    return program.Group("db-3", dict.fromkeys(NAMES, "127.0.0.1"), 1, 2, "ca", login, login)


def test_they_are_noted_and_struck_out(program: ModuleType) -> None:
    assert program.given_up() == set()
    program.give_up(["db-1"])
    program.give_up(["db-2"])
    assert program.given_up() == {"db-1", "db-2"}
    assert program.GIVEN_UP.stat().st_mode & 0o777 == 0o644, "the health agent reads it"
    program.strike_out(["db-3"])
    assert program.given_up() == {"db-1", "db-2"}
    program.strike_out(["db-1", "db-3"])
    assert json.loads(program.GIVEN_UP.read_text()) == ["db-2"]
    program.strike_out(NAMES)
    assert not program.GIVEN_UP.exists()


def test_only_the_silent_are_given_up_and_before_anybody_acts(
    program: ModuleType, group: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = (("db-1", "UNREACHABLE"), ("db-2", "UNREACHABLE"), ("db-3", "ONLINE"))
    looks = [blocked, (("db-3", "ONLINE"),)]

    def observed(_: Any) -> list[Any]:
        seen = [program.Seen(name, answered=False) for name in NAMES[:2]]
        return [*seen, program.Seen("db-3", state="ONLINE", view=looks[0])]

    noted: list[set[str]] = []

    def act(_: Any, plan: Any) -> None:
        noted.append(program.given_up())
        assert plan.action == "force"
        looks.pop(0)

    monkeypatch.setattr(program, "observe_all", observed)
    monkeypatch.setattr(program, "act", act)
    monkeypatch.setattr(program, "leave_offline_mode", lambda *_: None)
    monkeypatch.setattr(
        program,
        "plan_of",
        lambda _, seen, without=(): program.make_plan(seen, lambda *_: True, without),
    )
    code, said = program.converge(group, 5, ("db-1",), check=False)
    assert (code, program.given_up()) == (program.REFUSED, set()), said
    code, said = program.converge(group, 5, ("db-1", "db-2", "db-3"), check=False)
    assert (code, noted) == (0, [{"db-1", "db-2"}]), said


def test_the_keeper_strikes_out_who_is_back(
    program: ModuleType, group: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.give_up(["db-1", "db-2"])
    view = (("db-2", "ONLINE"), ("db-3", "ONLINE"), ("db-1", "RECOVERING"))
    monkeypatch.setattr(program, "observe", lambda *_: program.Seen("db-3", state="ONLINE", view=view))
    monkeypatch.setattr(program, "leave_offline_mode", lambda *_: None)
    assert program.watch_once(group) == ""
    assert program.given_up() == {"db-1"}
