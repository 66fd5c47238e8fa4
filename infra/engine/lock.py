"""One lock an estate: whoever changes it holds it, and its file names the holder.

The kernel releases the lock with its holder, so a killed run never blocks the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from infra.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from infra.paths import EstatePaths

WAIT_SECONDS = 60.0
"""How long a second run waits for the first before it gives up."""

_POLL_SECONDS = 0.2
_REMIND_SECONDS = 5.0

_held: dict[Path, int] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """Who holds an estate's lock."""

    command: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"`yiyun {self.command}` (process {self.pid}, since {self.since})"


@contextmanager
def estate_lock(
    paths: EstatePaths, command: str, progress: Callable[[str], None], *, wait_seconds: float = WAIT_SECONDS
) -> Generator[None]:
    """Hold the estate's lock for the length of a `with`. Taking it again in the same process is fine.

    Waits up to `wait_seconds`, saying for whom. Raises RefusedError naming the holder after that.
    """
    path = paths.ensure().lock
    with _guard:
        nested = _held.get(path, 0) > 0
        if nested:
            _held[path] += 1
    if nested:
        try:
            yield
        finally:
            with _guard:
                _held[path] -= 1
        return
    with path.open("a+", encoding="utf-8") as stream:
        path.chmod(0o600)
        _acquire(stream, paths.estate, progress, wait_seconds)
        _write_holder(stream, Holder(command, os.getpid(), _now()))
        with _guard:
            _held[path] = 1
        try:
            yield
        finally:
            with _guard:
                del _held[path]
            stream.truncate(0)
            fcntl.flock(stream, fcntl.LOCK_UN)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock of this file right now, or None."""
    if not path.exists():
        return None
    with path.open("r", encoding="utf-8") as stream:
        if _try(stream, fcntl.LOCK_SH):
            return None
        return _read_holder(stream)


def _acquire(stream: IO[str], estate: str, progress: Callable[[str], None], wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    reminded = 0.0
    while not _try(stream, fcntl.LOCK_EX):
        holder = _read_holder(stream)
        who = str(holder) if holder else "another run"
        if time.monotonic() >= deadline:
            raise RefusedError(
                f"estate {estate} is being changed by {who}",
                hint="wait for it to end, or end it: what it left is picked up by the next run",
            )
        if time.monotonic() - reminded >= _REMIND_SECONDS:
            progress(f"waiting for {who}")
            reminded = time.monotonic()
        time.sleep(_POLL_SECONDS)


def _try(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(stream: IO[str], holder: Holder) -> None:
    stream.truncate(0)
    json.dump(asdict(holder), stream)
    stream.flush()


def _read_holder(stream: IO[str]) -> Holder | None:
    stream.seek(0)
    try:
        return Holder(**json.loads(stream.read()))
    except (ValueError, TypeError):  # the holder is just about to write it
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
