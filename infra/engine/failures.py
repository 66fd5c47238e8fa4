"""The engine's failures, as a person is told of them."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import psutil
from pulumi import automation

from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_LOCKED_BY = re.compile(
    r"created by (?P<user>\S+?)@(?P<host>\S+) \(pid (?P<pid>\d+)\)(?: at (?P<at>\d{4}-\d\d-\d\dT\S+))?"
)
_CLOCK_SLACK_SECONDS = 1.0
"""The lock's time has whole seconds."""


@contextmanager
def told(errors: Callable[[], str] = str) -> Generator[None]:
    """Turn the engine's failures into YiyunError. `errors`: what its events said went wrong, if anything."""
    try:
        yield
    except automation.CommandError as error:
        raise YiyunError(
            f"the engine failed: {errors() or last_words(str(error))}",
            hint="correct it and run the same command again: it goes on from here",
        ) from None


def last_words(message: str) -> str:
    """What a failed command of the Automation API says, in one line."""
    killed = re.search(r"code: -(\d+)", message)
    if killed is not None:
        return f"it was ended by {signal.Signals(int(killed[1])).name}"
    lines = [line.strip() for line in message.splitlines() if "error:" in line]
    return lines[-1] if lines else " ".join(message.split())[-300:]


def lock_holder(message: str) -> str:
    """Who holds the backend's lock, from the engine's message."""
    found = _LOCKED_BY.search(message)
    return f"{found['user']}@{found['host']} (pid {found['pid']})" if found else "it does not say whose"


def holder_is_gone(message: str) -> bool:
    """Whether the backend's lock was taken by a process of this machine that has ended.

    A killed process that nobody has reaped yet has ended; so has one whose number was given to a process
    that began after the lock was taken.
    """
    found = _LOCKED_BY.search(message)
    if found is None or found["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(found["pid"]))
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return True
        began = process.create_time()
    except psutil.NoSuchProcess:
        return True
    return found["at"] is not None and began > _seconds(found["at"]) + _CLOCK_SLACK_SECONDS


def _seconds(moment: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; one that cannot be read lies in the future."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return float("inf")
