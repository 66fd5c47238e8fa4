"""A unit's clock: the library comes from the package without being installed, and leaves nothing behind."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from runbooks.drills.faults import clock
from runbooks.drills.faults.clock import CLOCK_MOVED, LIBRARY, PACKAGE, drop_in, fetch_script, offset
from runbooks.drills.kinds import ClockMoved
from tests.unit.runbooks.faults.local import place_at

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FAULT = ClockMoved(kind="clock-moved", host="db-2", unit="mysql", seconds=-7200)


def package(folder: Path, library: str = LIBRARY) -> Path:
    """A package as Debian lays it out."""
    root = folder / "root"
    where = root / "usr" / "lib" / "x86_64-linux-gnu" / "faketime"
    where.mkdir(parents=True)
    (where / library).write_text("the library")
    (root / "DEBIAN").mkdir()
    control = f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n"
    (root / "DEBIAN" / "control").write_text(control)
    made = folder / "made.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(made)], check=True, capture_output=True)
    return made


def fetched(root: Path, made: Path) -> subprocess.CompletedProcess[str]:
    """The script with a registry that gives that package."""
    tools = root / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "apt-get").write_text(
        f'#!/bin/sh\necho asked >> {root}/asked\ncp {made} "{PACKAGE}_1_all.deb"\n'
    )
    (tools / "apt-get").chmod(0o755)
    script = f"PATH={tools}:$PATH\n{fetch_script(str(root / 'folder'))}"
    return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)


def test_the_library_is_unpacked_once_and_nothing_else_stays(tmp_path: Path) -> None:
    made = package(tmp_path)
    for _ in range(2):
        assert fetched(tmp_path, made).returncode == 0
        assert [p.name for p in (tmp_path / "folder").iterdir()] == [LIBRARY]
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert not (tmp_path / "folder.new").exists()


def test_a_package_without_the_library_is_said(tmp_path: Path) -> None:
    done = fetched(tmp_path, package(tmp_path, "another.so"))
    assert done.returncode != 0
    assert f"no {LIBRARY} in {PACKAGE}" in done.stderr
    assert not (tmp_path / "folder").exists()


def test_the_wall_clock_moves_and_the_monotonic_one_stays() -> None:
    lines = drop_in(7200).splitlines()
    assert lines[0] == "[Service]"
    assert "Environment=FAKETIME=+7200" in lines
    assert "Environment=FAKETIME_DONT_FAKE_MONOTONIC=1" in lines
    assert (offset(-30), offset(30)) == ("-30", "+30")


class Host:
    """A unit that restarts: with the library when its drop-in is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drop_in = self.mapped = False
        self.restarts, self.moved, self.scripts = 0, 0, list[str]()
        for name, does in {
            "shell": self.shell,
            "must": self.must,
            "systemctl": lambda _p, _h, *words: self.must(_p, _h, ["systemctl", *words]),
            "has_drop_in": lambda *_: self.drop_in,
            "remove_drop_in": lambda *_: setattr(self, "drop_in", False),
            "main_pid": lambda *_: 7,
            "holds": lambda _p, _h, argv: self.mapped if argv[0] == "grep" else self.drop_in,
            "unit_state": lambda *_: "active",
        }.items():
            monkeypatch.setattr(clock, name, does)

    def shell(self, _place: object, _host: str, script: str, *, stdin: str = "") -> str:
        self.drop_in = self.drop_in or bool(stdin)
        self.scripts.append(script)
        return ""

    def must(self, _place: object, _host: str, argv: list[str], **_: object) -> str:
        if argv[:2] == ["systemctl", "restart"]:
            self.restarts, self.mapped = self.restarts + 1, self.drop_in
        return str(1_000_000 + (self.moved if argv[0] == "env" else 0))


def test_a_unit_restarts_into_another_time_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, place = Host(monkeypatch), place_at(tmp_path)
    order = CLOCK_MOVED.order(FAULT, place)
    CLOCK_MOVED.undo(order, place)
    assert host.restarts == 0, "nothing happened, so nothing is restarted"
    CLOCK_MOVED.inject(FAULT, place)
    assert not CLOCK_MOVED.bites(FAULT, place), "the library moves nothing here"
    host.moved = FAULT.seconds
    assert CLOCK_MOVED.bites(FAULT, place)
    assert not CLOCK_MOVED.is_undone(order, place)
    for _ in range(2):
        CLOCK_MOVED.undo(order, place)
        assert CLOCK_MOVED.is_undone(order, place)
    assert host.restarts == 2, "into it and back"
    assert clock.FOLDER in host.scripts[-1], "the library goes with the last unit"
