"""The gate of a planned switch: for a moment nobody begins a transaction, and who is in one can be seen.

A switch of the database's writer closes it, waits until nobody is inside, moves the writer, and opens it. Its
files are described in the operator's guide ("The gate"); they are read here, and written by whoever switches.
The gate never holds anybody for good: it says itself until when it is closed; what cannot be read is open.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection, QueuePool, event
from sqlalchemy.exc import DisconnectionError

STATE, USERS = "gate.json", "users.lock"
LONGEST_SECONDS = 2.0
"""No gate is closed for longer: what says so is damaged, and open."""
_POLL_SECONDS = 0.002
_PASS, _BORN = "gate-pass", "gate-born"


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

    def is_closed(self, now: int) -> bool:
        """Whether nobody may begin at `now`."""
        return now < self.until <= now + int(LONGEST_SECONDS * 1e9)


def parse(text: str) -> State:
    """The file's content; what is damaged is an open gate."""
    try:
        raw: Any = json.loads(text)
        return State(int(raw["until_ns"]), int(raw["discard_ns"]))
    except (ValueError, TypeError, KeyError):
        return State()


@dataclass
class Gate:
    """One gate, by its folder. `discard`: the newest moment before which connections are to be dropped."""

    folder: Path
    discard: int = 0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def enter(self) -> int | None:
        """Wait while it is closed, `LONGEST_SECONDS` at most; be counted as inside. Returns the pass."""
        limit = boot_ns() + int(LONGEST_SECONDS * 1e9)
        while True:
            # Counted first, asked then: who closes the gate and sees nobody knows that nobody comes.
            counted, token = self._counted()
            state = self._state()
            if boot_ns() > limit or (counted and not state.is_closed(boot_ns())):
                return token
            leave(token)
            self.sleep(_POLL_SECONDS)

    def _counted(self) -> tuple[bool, int | None]:
        try:
            token = os.open(self.folder / USERS, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True, None  # no gate on this host
        try:
            fcntl.flock(token, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False, token  # whoever closed it is counting
        return True, token

    def _state(self) -> State:
        try:
            state = parse((self.folder / STATE).read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            return State()
        self.discard = max(self.discard, min(state.discard, boot_ns()))
        return state


def leave(token: int | None) -> None:
    """Give a pass back; with its file goes its lock."""
    if token is not None:
        os.close(token)


def gated_pool(gate: Gate) -> type[QueuePool]:
    """A pool whose connections are handed out through a gate."""

    class GatedPool(QueuePool):
        def connect(self) -> PoolProxiedConnection:
            token = gate.enter()
            try:
                connection = super().connect()
                _record_of(connection)[_PASS] = token
            except BaseException:
                leave(token)
                raise
            return connection

    return GatedPool


def _record_of(connection: PoolProxiedConnection) -> dict[Any, Any]:
    if connection.record_info is None:
        raise RuntimeError("a pooled connection without a record")
    return connection.record_info


def watch(engine: Engine, gate: Gate) -> None:
    """Give passes back with their connections, and drop connections from before a switch."""

    def born(_connection: Any, record: Any) -> None:
        record.info[_BORN] = boot_ns()

    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(_BORN, 0) < gate.discard:
            raise DisconnectionError("opened before the writer was switched")

    def checked_in(_connection: Any, record: Any) -> None:
        leave(record.record_info.pop(_PASS, None))

    event.listen(engine, "connect", born)
    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)
