"""Group commit: one writer thread turns the messages of many connections into few durable transactions."""

from __future__ import annotations

import queue
import sqlite3
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from yiyun_gateway.store import Arrival, FullError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_BATCH = 256


class RefusedError(Exception):
    """The store did not take the message; it must be answered AE. The text is the reason, for MSA-3."""


class Intake:
    """Accepts messages from any thread; each gets a future that is done only after its commit has returned.

    `write` stores a batch durably and may raise FullError or sqlite3.Error; `stored` is called with
    the number of new messages after each commit (to wake the worker).
    """

    def __init__(
        self, write: Callable[[Sequence[Arrival]], list[bool]], stored: Callable[[int], None] | None = None
    ) -> None:
        self._write = write
        self._stored = stored
        self._waiting: queue.SimpleQueue[tuple[Arrival, Future[bool]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def submit(self, arrival: Arrival) -> Future[bool]:
        """Queue a message. The future gives True (new) or False (already stored), or raises RefusedError."""
        future: Future[bool] = Future()
        self._waiting.put((arrival, future))
        return future

    def close(self) -> None:
        """Finish what is queued and stop the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < MAX_BATCH:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                batch.append(more)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[tuple[Arrival, Future[bool]]]) -> None:
        try:
            new = self._write([arrival for arrival, _ in batch])
        except FullError:
            self._refuse(batch, "store is full, try again later")
        except sqlite3.Error as error:
            self._refuse(batch, f"store refuses: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may be told it was stored
            self._refuse(batch, f"internal error: {type(error).__name__}")
        else:
            for (_, future), one in zip(batch, new, strict=True):
                future.set_result(one)
            if self._stored is not None:
                self._stored(sum(new))

    def _refuse(self, batch: list[tuple[Arrival, Future[bool]]], reason: str) -> None:
        if len(batch) > 1:  # a large neighbour must not cost a small message its place
            for one in batch:
                self._commit([one])
            return
        batch[0][1].set_exception(RefusedError(reason))
