"""The gate of a planned switch: the toolkit's reading and the platform's, of the same files."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from runbooks.database.onhost.gate import LONGEST_SECONDS, STATE, USERS, Gate, State, boot_ns
from yiyun_app import gate as platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Enter = Callable[[Path], AbstractContextManager[int]]


@contextmanager
def by_toolkit(folder: Path) -> Iterator[int]:
    with Gate(folder).passed() as discard:
        yield discard


@contextmanager
def by_platform(folder: Path) -> Iterator[int]:
    found = platform.Gate(folder)
    token = found.enter()
    try:
        yield found.discard
    finally:
        platform.leave(token)


BOTH = pytest.mark.parametrize("enter", [by_toolkit, by_platform])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / USERS).touch()
    return tmp_path


def waited(enter: Enter, folder: Path) -> float:
    began = time.monotonic()
    with enter(folder):
        return time.monotonic() - began


@BOTH
def test_an_open_gate_and_no_gate_at_all_hold_nobody(enter: Enter, folder: Path, tmp_path: Path) -> None:
    assert waited(enter, folder) < 0.05
    assert waited(enter, tmp_path / "none") < 0.05


@BOTH
def test_a_closed_gate_holds_until_it_is_opened(enter: Enter, folder: Path) -> None:
    Gate(folder).close(2.0)
    threading.Timer(0.2, lambda: Gate(folder).open(discard=False)).start()
    assert 0.15 < waited(enter, folder) < 0.6


@BOTH
def test_a_gate_that_nobody_opens_opens_by_itself(enter: Enter, folder: Path) -> None:
    Gate(folder).close(0.3)
    assert 0.25 < waited(enter, folder) < 0.8


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"until_ns": "soon", "discard_ns": 0}',
        json.dumps({"until_ns": 10**18, "discard_ns": 0}),  # longer than any gate: damaged
    ],
)
def test_a_damaged_file_is_an_open_gate(enter: Enter, folder: Path, text: str) -> None:
    (folder / STATE).write_text(text)
    assert waited(enter, folder) < 0.05


@BOTH
def test_who_closes_the_gate_sees_who_is_inside_and_waits_for_them(enter: Enter, folder: Path) -> None:
    gate = Gate(folder)
    with enter(folder):
        gate.close(2.0)
        assert not gate.is_empty()
        assert not gate.wait_empty(0.05)
    assert gate.wait_empty(0.05)


@BOTH
def test_who_counts_for_ever_holds_nobody_for_ever(enter: Enter, folder: Path) -> None:
    """A switching program that was stopped in the middle of its count."""
    with (folder / USERS).open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        assert LONGEST_SECONDS - 0.1 < waited(enter, folder) < LONGEST_SECONDS + 0.5


def _enter_and_hang(folder: Path, inside: Any) -> None:
    with Gate(folder).passed():
        inside.set()
        time.sleep(60)


def test_a_killed_user_is_inside_no_more(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    inside = context.Event()
    process = context.Process(target=_enter_and_hang, args=(folder, inside))
    process.start()
    assert inside.wait(20)
    assert not Gate(folder).is_empty()
    process.kill()
    process.join()
    assert Gate(folder).is_empty()


@BOTH
def test_after_a_switch_connections_from_before_it_are_to_be_dropped(enter: Enter, folder: Path) -> None:
    before = boot_ns()
    Gate(folder).close(1.0)
    Gate(folder).open(discard=True)
    with enter(folder) as discard:
        assert before < discard <= boot_ns()
    Gate(folder).close(1.0)  # a try that did not come to the end drops nothing more
    Gate(folder).open(discard=False)
    with enter(folder) as again:
        assert again == discard


@BOTH
def test_a_moment_that_has_not_come_yet_drops_nothing_newer(enter: Enter, folder: Path) -> None:
    """Else every connection would be dropped for ever: a clock that was set back, a damaged file."""
    Gate(folder).write(State(0, boot_ns() + int(1e12)))
    with enter(folder) as discard:
        assert discard <= boot_ns()


def test_nobody_is_seen_to_enter_a_gate_that_is_closed_and_empty(folder: Path) -> None:
    """The race that matters: whoever is let in after the close must be seen by the count."""
    gate, stop, wrong, entered = Gate(folder), threading.Event(), [], []

    def user(enter: Enter) -> None:
        while not stop.is_set():
            with enter(folder):
                entered.append(enter)
                if quiet.is_set():
                    wrong.append(time.monotonic())

    quiet = threading.Event()
    users = [threading.Thread(target=user, args=(e,)) for e in (by_toolkit, by_platform) * 2]
    for thread in users:
        thread.start()
    for _ in range(20):
        gate.close(1.0)
        if gate.wait_empty(0.5):
            quiet.set()
            time.sleep(0.005)
            quiet.clear()
        gate.open(discard=False)
        time.sleep(0.002)
    stop.set()
    for thread in users:
        thread.join()
    assert not wrong
    assert min(entered.count(e) for e in (by_toolkit, by_platform)) > 20


def test_a_gate_cannot_be_closed_for_long(folder: Path) -> None:
    with pytest.raises(ValueError, match="at most"):
        Gate(folder).close(LONGEST_SECONDS + 0.1)
