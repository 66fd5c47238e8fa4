"""What every workload program does alike: operations at due moments, one line each, an end in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from runbooks.drills.evidence.history import Kind, Operation

    Note = Callable[[Operation], None]

LOOK_SECONDS = 0.1


class Pace(Protocol):
    """How fast, in operations a second over all clients, and for how many seconds at most."""

    @property
    def clients(self) -> int:
        """How many clients share the rate."""
        ...

    @property
    def rate(self) -> float:
        """Operations a second over all clients."""
        ...

    @property
    def seconds(self) -> float:
        """It ends by itself after that."""
        ...


class Runs(Protocol):
    """One client of a workload."""

    def run(self, began: float, stopped: threading.Event) -> None:
        """Work until the end or until stopped. `began`: monotonic clock, seconds."""
        ...


def paced(
    pace: Pace, number: int, began: float, stopped: threading.Event, one: Callable[[int, float], None]
) -> None:
    """Call `one(n, due)` at each due moment of client `number`, or as soon after as the call before ended.

    The schedule goes on while an answer is late, so that a stall is not hidden (coordinated omission).
    """
    apart = pace.clients / pace.rate
    first = began + apart * number / pace.clients
    for operation in range(int(pace.seconds / apart)):
        due = first + operation * apart
        if stopped.wait(max(0.0, due - time.monotonic())):
            return
        one(operation, due)


def drawn(source: random.Random, mix: Sequence[tuple[Kind, int]]) -> Kind:
    """One kind of operation, by the shares of a mix."""
    kinds: list[Kind] = [kind for kind, _ in mix]
    (kind,) = source.choices(kinds, [share for _, share in mix])
    return kind


def carry_out(history: Path, make: Callable[[Note], Sequence[Runs]], patience: float) -> None:
    """Run clients until SIGTERM, their end or the controller's; every operation is a line of `history`.

    Says `ready` on standard output when it begins. `patience`: seconds that operations under way may take
    after the end.
    """
    stopped, lock, parent = threading.Event(), threading.Lock(), os.getppid()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    file = os.open(history, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    unwritten: list[OSError] = []

    def note(operation: Operation) -> None:
        with lock:
            try:
                os.write(file, operation.model_dump_json().encode() + b"\n")
            except OSError as error:  # what is not recorded proves nothing: end, and say so
                unwritten.append(error)
                stopped.set()

    clients = make(note)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    began = time.monotonic()
    threads = [threading.Thread(target=c.run, args=(began, stopped), daemon=True) for c in clients]
    for thread in threads:
        thread.start()
    while any(t.is_alive() for t in threads) and not stopped.wait(LOOK_SECONDS):
        if os.getppid() != parent:  # killed, it could not say so: nobody judges this load any more
            stopped.set()
    until = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    os.fsync(file)
    if unwritten:
        raise unwritten[0]
