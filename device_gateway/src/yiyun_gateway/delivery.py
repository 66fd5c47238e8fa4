"""Which message goes next: several in flight, one per lane, in order; no lane blocks another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yiyun_gateway import store
from yiyun_gateway.documents import Composer, NotDeliverableError
from yiyun_gateway.logs import event
from yiyun_gateway.uplink import Line, Outcome, backoff

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from yiyun_gateway.config import Uplink

WINDOW = 2048
"""Messages known to the scheduler at a time; the rest wait on disk."""


@dataclass(slots=True)
class _Lane:
    waiting: deque[int] = field(default_factory=deque)
    busy: bool = False
    failures: int = 0
    due: float = 0.0


class Schedule:
    """Pure bookkeeping of lanes. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self.known: set[int] = set()

    def add(self, rows: Iterable[tuple[int, str]]) -> None:
        """Queue messages (id, lane) not known yet, in the order given."""
        for identity, name in rows:
            if identity not in self.known:
                self.known.add(identity)
                self._lanes.setdefault(name, _Lane()).waiting.append(identity)

    def take(self, limit: int, at: float) -> list[tuple[int, str]]:
        """Mark up to `limit` idle, due lanes busy and return the first message of each."""
        taken: list[tuple[int, str]] = []
        for name, lane in self._lanes.items():
            if len(taken) >= limit:
                break
            if lane.waiting and not lane.busy and lane.due <= at:
                lane.busy = True
                taken.append((lane.waiting[0], name))
        return taken

    def settle(self, name: str) -> None:
        """The lane's first message is finished (delivered or parked)."""
        lane = self._lanes[name]
        lane.waiting.popleft()
        lane.busy, lane.failures, lane.due = False, 0, 0.0
        if not lane.waiting:
            del self._lanes[name]

    def release(self, name: str) -> None:
        """The lane's first message was not judged (nobody was there); it may be tried again at once."""
        self._lanes[name].busy = False

    def postpone(self, name: str, at: float, cap_s: float) -> None:
        """The lane's first message failed and must be tried again after its backoff."""
        lane = self._lanes[name]
        lane.busy = False
        lane.failures += 1
        lane.due = at + backoff(lane.failures, cap_s)

    def next_due(self, at: float) -> float | None:
        """Seconds until an idle lane with work is due (0 when one is), None when no lane waits."""
        times = [lane.due for lane in self._lanes.values() if lane.waiting and not lane.busy]
        return max(0.0, min(times) - at) if times else None


class Deliverer:
    """Sends parsed messages over the line and marks what became of them."""

    def __init__(self, db: sqlite3.Connection, composer: Composer, uplink: Uplink, line: Line) -> None:
        self._db = db
        self._composer = composer
        self._uplink = uplink
        self._line = line
        self._schedule = Schedule()
        self._tasks: dict[asyncio.Task[Outcome], tuple[int, str]] = {}
        self.delivered = 0

    async def run(self, wake: asyncio.Event, stop: asyncio.Event) -> None:
        """Deliver until `stop`; then finish what is in flight. `wake`: something new was parsed."""
        while not stop.is_set():
            wake.clear()
            self._refill()
            self._launch()
            await self._wait(wake)
            self._collect()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._uplink.answer_timeout_s)
            self._collect()
        for task in self._tasks:
            task.cancel()

    def _refill(self) -> None:
        if len(self._schedule.known) >= WINDOW // 2:
            return
        rows = self._db.execute(
            "SELECT id, lane FROM message WHERE state = 'parsed' ORDER BY id LIMIT ?", (WINDOW,)
        ).fetchall()
        self._schedule.add((int(identity), str(lane)) for identity, lane in rows)

    def _launch(self) -> None:
        free = self._uplink.in_flight - len(self._tasks) if self._line.wait_s() == 0 else 0
        for identity, lane in self._schedule.take(free, time.monotonic()):
            self._tasks[asyncio.create_task(self._send(identity))] = (identity, lane)

    async def _wait(self, wake: asyncio.Event) -> None:
        due = self._schedule.next_due(time.monotonic()) if len(self._tasks) < self._uplink.in_flight else None
        due = None if due is None else max(due, self._line.wait_s())
        waker = asyncio.create_task(wake.wait())
        await asyncio.wait(
            {waker, *self._tasks},
            timeout=1.0 if due is None else min(1.0, due),
            return_when=asyncio.FIRST_COMPLETED,
        )
        waker.cancel()

    def _collect(self) -> None:
        """Mark everything that finished, in one transaction, then forget it."""
        finished = {task: self._tasks.pop(task) for task in list(self._tasks) if task.done()}
        delivered: list[int] = []
        parked: list[tuple[int, str]] = []
        for task, (identity, lane) in finished.items():
            outcome = task.result()
            if outcome.kind == "away":
                self._schedule.release(lane)
                continue
            if outcome.kind == "retry":
                self._schedule.postpone(lane, time.monotonic(), self._uplink.backoff_cap_s)
                continue
            self._schedule.settle(lane)
            if outcome.kind == "delivered":
                delivered.append(identity)
            else:
                parked.append((identity, outcome.reason))
                event(logging.WARNING, "parked", id=identity, cause=outcome.reason.partition(":")[0])
        if delivered or parked:
            store.mark_sent(self._db, delivered, parked)
            self._schedule.known.difference_update(delivered, (identity for identity, _ in parked))
            self.delivered += len(delivered)

    async def _send(self, identity: int) -> Outcome:
        row = self._db.execute(
            "SELECT raw, key, received_at FROM message WHERE id = ?", (identity,)
        ).fetchone()
        try:
            delivery = self._composer.compose(*row)
        except NotDeliverableError as error:
            return Outcome("refused", str(error))
        outcome = Outcome("delivered")
        for post in delivery.posts:
            outcome = await self._line.post(post.body, post.key)
            if outcome.kind != "delivered":
                return outcome
        return outcome
