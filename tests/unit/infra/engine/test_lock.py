from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from infra.engine.lock import estate_lock, holder_of
from infra.errors import RefusedError
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from infra.engine.lock import estate_lock
from infra.paths import EstatePaths
with estate_lock(EstatePaths("lab", Path(sys.argv[1])), "up", print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths("lab", tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Generator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_run_is_refused_and_told_who_holds_the_lock(
    paths: EstatePaths, other: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(RefusedError, match=rf"`yiyun up` \(process {other.pid}, since 2"),
        estate_lock(paths, "destroy", lambda _: None, wait_seconds=0),
    ):
        pytest.fail("two runs held the lock at once")
    assert RefusedError.exit_code == 3


def test_a_second_run_waits_and_says_for_whom(paths: EstatePaths, other: subprocess.Popen[str]) -> None:
    said: list[str] = []

    def let_go_once_told(line: str) -> None:
        said.append(line)
        assert other.stdin is not None
        other.stdin.close()

    with estate_lock(paths, "destroy", let_go_once_told, wait_seconds=30):
        holder = holder_of(paths.lock)
    assert holder is not None
    assert holder.command == "destroy"
    assert said[0].startswith(f"waiting for `yiyun up` (process {other.pid}")


def test_a_killed_holder_blocks_nobody(paths: EstatePaths, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    with estate_lock(paths, "up", lambda _: None, wait_seconds=0):
        pass


def test_the_same_process_may_take_it_again(paths: EstatePaths) -> None:
    with estate_lock(paths, "up", lambda _: None):
        with estate_lock(paths, "engine", lambda _: None, wait_seconds=0):
            pass
        holder = holder_of(paths.lock)
        assert holder is not None
        assert holder.command == "up", "the inner one released what the outer one holds"
    assert holder_of(paths.lock) is None


def test_another_estate_has_a_lock_of_its_own(paths: EstatePaths, other: subprocess.Popen[str]) -> None:
    with estate_lock(EstatePaths("second", paths.root.parent), "up", lambda _: None, wait_seconds=0):
        assert holder_of(paths.lock) is not None


def test_an_error_under_the_lock_releases_it(paths: EstatePaths) -> None:
    def fail() -> None:
        with estate_lock(paths, "up", lambda _: None):
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert holder_of(paths.lock) is None


def test_threads_of_one_run_share_it(paths: EstatePaths) -> None:
    entered = threading.Event()

    def inner() -> None:
        with estate_lock(paths, "engine", lambda _: None, wait_seconds=0):
            entered.set()

    with estate_lock(paths, "up", lambda _: None):
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join(10)
    assert entered.is_set()
