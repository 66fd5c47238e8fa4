"""The gate of a planned switch: writer's and user's side of its files (docs/guides/database.md).

The platform's pool has its own reading of the same files (yiyun_app.gate): payload and toolkit share no code.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER = Path("/run/yiyun-db-gate")
STATE, USERS = "gate.json", "users.lock"
LONGEST_SECONDS = 2.0
"""No gate is closed for longer: what says so is damaged, and open."""
POLL_SECONDS = 0.002


def boot_ns() -> int:
    """Nanoseconds since this machine started, its sleep included: the clock of the gate's files."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class State:
    """What the gate's file says, in nanoseconds of `boot_ns`."""

    until: int = 0
    """Closed up to this moment."""
    discard: int = 0
    """Connections opened before this moment lead to a member that is the writer no more."""

    def closed_for(self, now: int) -> float:
        """Seconds for which nobody may begin; 0 when it is open."""
        left = (self.until - now) / 1e9
        return left if 0 < left <= LONGEST_SECONDS else 0.0


def parse(text: str) -> State:
    """The file's content; what is damaged is an open gate."""
    try:
        raw: Any = json.loads(text)
        return State(int(raw["until_ns"]), int(raw["discard_ns"]))
    except (ValueError, TypeError, KeyError):
        return State()


class Gate:
    """One gate, by its folder, which a role makes."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def state(self) -> State:
        """What the file says now; no file is an open gate."""
        try:
            return parse((self.folder / STATE).read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            return State()

    def write(self, state: State) -> None:
        """Put a new state in one step. Raises OSError."""
        beside = self.folder / f".{STATE}"
        beside.write_text(json.dumps({"until_ns": state.until, "discard_ns": state.discard}) + "\n", "ascii")
        beside.chmod(0o644)
        beside.replace(self.folder / STATE)

    def close(self, seconds: float) -> None:
        """Let nobody begin for so long. Raises ValueError for longer than a gate may be closed, OSError."""
        if not 0 < seconds <= LONGEST_SECONDS:
            raise ValueError(f"a gate is closed for {LONGEST_SECONDS} s at most, not {seconds}")
        self.write(State(boot_ns() + int(seconds * 1e9), self.state().discard))

    def open(self, *, discard: bool) -> None:
        """Let everybody begin; `discard`: on new connections only. Raises OSError."""
        self.write(State(0, boot_ns() if discard else self.state().discard))

    def is_empty(self) -> bool:
        """Whether nobody is inside. With the gate closed, nobody comes either. Raises OSError."""
        users = os.open(self.folder / USERS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(users)

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nobody is inside, so long at most. Raises OSError."""
        limit = time.monotonic() + seconds
        while not self.is_empty():
            if time.monotonic() > limit:
                return False
            time.sleep(POLL_SECONDS)
        return True

    @contextmanager
    def passed(self) -> Generator[int]:
        """Be inside for one transaction; waits while it is closed. Gives `discard`, as `State` has it."""
        limit, token = boot_ns() + int(LONGEST_SECONDS * 1e9), None
        try:
            while True:
                # Counted first, asked then: who closes the gate and sees nobody knows that nobody comes.
                counted, token = self._counted()
                state, now = self.state(), boot_ns()
                if now > limit or (counted and not state.closed_for(now)):
                    break
                _leave(token)
                token = None
                time.sleep(POLL_SECONDS)
            yield min(state.discard, now)
        finally:
            _leave(token)

    def _counted(self) -> tuple[bool, int | None]:
        try:
            token = os.open(self.folder / USERS, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True, None  # no gate here
        try:
            fcntl.flock(token, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False, token
        return True, token


def _leave(token: int | None) -> None:
    if token is not None:
        os.close(token)
