"""What happens to a member's directory while its data are made anew."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from runbooks.database.onhost import machine as program
from runbooks.database.onhost.machine import FailedError, Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []

    def run(argv: list[str], *, check: bool = True, env: dict[str, str] | None = None) -> str:
        said.append(" ".join(argv[:2]))
        return json.dumps({"state": "absent"}) if argv[0] == program.DATADIR else ""

    monkeypatch.setattr(program, "_run", run)
    return said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(str(tmp_path / "mysql"), tmp_path / "hold")
    made.directory.mkdir()
    (made.directory / "old").touch()
    return made


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_old_data_stay_aside_until_the_new_ones_are_proven(machine: Machine, ran: list[str]) -> None:
    machine.set_aside(keep=True)
    assert ran == ["systemctl stop"]
    assert files(machine.aside) == ["old"]
    assert not machine.directory.exists()
    machine.make("lab", "db-3")
    machine.directory.mkdir()
    (machine.directory / "new").touch()
    assert machine.finish() == {"removed": True}
    assert files(machine.directory) == ["new"]
    assert not machine.aside.exists()


def test_a_failure_puts_the_old_data_back(machine: Machine, ran: list[str]) -> None:
    machine.set_aside(keep=True)
    machine.directory.mkdir()
    (machine.directory / "half").touch()
    assert machine.put_back() == {"put_back": True}
    assert files(machine.directory) == ["old"]
    assert ran[-1] == "systemctl start"
    assert machine.put_back() == {"put_back": False}
    assert files(machine.directory) == ["old"]


def test_a_second_run_after_an_interrupted_one_keeps_the_oldest_data(
    machine: Machine, ran: list[str]
) -> None:
    machine.set_aside(keep=True)
    machine.directory.mkdir()
    (machine.directory / "half").touch()
    machine.set_aside(keep=True)
    assert files(machine.aside) == ["old"]
    assert not machine.directory.exists()


def test_without_room_the_old_data_go_first(machine: Machine, ran: list[str]) -> None:
    machine.set_aside(keep=False)
    assert not machine.directory.exists()
    assert not machine.aside.exists()


def test_a_hold_does_not_outlive_who_asked_for_it(machine: Machine, tmp_path: Path) -> None:
    machine.hold(on=True)
    assert (tmp_path / "hold").exists()
    machine.ended()
    assert not (tmp_path / "hold").exists()
    (tmp_path / "hold").touch()  # somebody else's: a cold copy
    Machine(str(tmp_path / "mysql"), tmp_path / "hold").ended()
    assert (tmp_path / "hold").exists()


def test_a_command_that_fails_says_its_last_words() -> None:
    with pytest.raises(FailedError, match=r"sh -c .*: no disk"):
        program._run(["sh", "-c", "echo no disk >&2; exit 1"])


def test_what_takes_a_connection_is_reached(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert machine.reach([["127.0.0.1", port], ["127.0.0.1", 1]], 0.5) == {"open": [["127.0.0.1", port]]}
