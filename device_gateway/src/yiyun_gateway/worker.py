"""The worker process: parses what the listener stored, delivers it, keeps the store within its bound.

A process of its own: parsing never delays an acknowledgement, a crash never costs a connection.
Its standard input is its lifeline: bytes wake it, end of file stops it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from yiyun_gateway import codes, store
from yiyun_gateway.delivery import Deliverer
from yiyun_gateway.documents import Composer, NotDeliverableError
from yiyun_gateway.logs import event
from yiyun_gateway.uplink import Line

if TYPE_CHECKING:
    import sqlite3

    from yiyun_gateway.config import Config

PARSE_BATCH = 100
_HOUSEKEEPING_S = 5.0


class Worker:
    """Parses, delivers and prunes one store."""

    def __init__(self, config: Config, db: sqlite3.Connection) -> None:
        self._config = config
        self._db = db
        self._composer = Composer(config.site, config.reading, codes.load(config.reading.codes))
        self.stored = asyncio.Event()
        self.stop = asyncio.Event()
        self._parsed = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop` is set, then finish what is in flight. Raises sqlite3.Error on store faults."""
        line = Line(self._config.uplink)
        deliverer = Deliverer(self._db, self._composer, self._config.uplink, line)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._parse())
            group.create_task(self._keep_house(deliverer))
            if self._config.uplink.urls:
                group.create_task(deliverer.run(self._parsed, self.stop))
            else:
                event(logging.WARNING, "store only: uplink.urls is empty, nothing is forwarded")
        await line.close()

    async def _parse(self) -> None:
        while not self.stop.is_set():
            self.stored.clear()
            if self.parse_some():
                self._parsed.set()
                await asyncio.sleep(0)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stored.wait(), 1.0)
        self._parsed.set()

    def parse_some(self) -> int:
        """Parse up to a batch of received messages in the order they came; returns how many."""
        rows = self._db.execute(
            "SELECT id, raw, key, received_at FROM message WHERE state = 'received' ORDER BY id LIMIT ?",
            (PARSE_BATCH,),
        ).fetchall()
        outcomes = [self._parse_one(*row) for row in rows]
        if outcomes:
            store.mark_parsed(self._db, outcomes)
        for one in outcomes:
            if one.reason:
                event(logging.WARNING, "parked", id=one.id, cause=one.reason)
        return len(outcomes)

    def _parse_one(self, identity: int, raw: bytes, key: str, received_at: str) -> store.Parsed:
        try:
            delivery = self._composer.compose(raw, key, received_at)
        except NotDeliverableError as error:
            return store.Parsed(identity, None, str(error))
        except Exception as error:  # noqa: BLE001 - one message nobody foresaw must not stop all others
            return store.Parsed(
                identity, None, f"cannot be read: {type(error).__name__} in the parser; report it"
            )
        missing = tuple(
            (one.system.removeprefix("urn:yiyun:code:"), one.code, one.unit, one.display)
            for one in delivery.unmapped
        )
        return store.Parsed(identity, delivery.lane, None, missing)

    async def _keep_house(self, deliverer: Deliverer) -> None:
        reported = 0
        while not self.stop.is_set():
            before = datetime.now(UTC) - timedelta(hours=self._config.store.keep_delivered_h)
            while store.prune(  # noqa: ASYNC110 - it yields between batches, it does not poll
                self._db, self._config.store.max_bytes, before.isoformat()
            ):
                await asyncio.sleep(0)
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if deliverer.delivered != reported:
                event(logging.INFO, "delivered", count=deliverer.delivered - reported)
                reported = deliverer.delivered
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), _HOUSEKEEPING_S)


async def _lifeline(worker: Worker) -> None:
    """Turn bytes on standard input into wake-ups and its end into a stop."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    while await reader.read(4096):
        worker.stored.set()
    worker.stop.set()
    worker.stored.set()


async def _alone(config: Config, worker: Worker) -> int:
    """Take the worker's lock; a predecessor of a killed gateway may need a moment to see its own end."""
    handle = os.open(
        config.store.path.with_name(config.store.path.name + ".worker"), os.O_CREAT | os.O_RDWR, 0o600
    )
    while not worker.stop.is_set():
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.stop.wait(), 0.05)
        else:
            break
    return handle


async def run(config: Config) -> None:
    """Run the worker until its standard input ends."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    db = store.connect(config.store.path, durable=False)
    worker = Worker(config, db)
    lifeline = asyncio.create_task(_lifeline(worker))
    handle = await _alone(config, worker)
    await worker.run()
    lifeline.cancel()
    db.close()
    os.close(handle)
