"""The MLLP server: AA only after the message's commit, AE when the store refuses, AR when it is not HL7."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from yiyun_gateway import mllp, store
from yiyun_gateway.hl7v2.header import Header, NotHl7Error, acknowledge, peek, reject
from yiyun_gateway.intake import Intake, RefusedError
from yiyun_gateway.logs import event

if TYPE_CHECKING:
    from concurrent.futures import Future

    from yiyun_gateway.config import Listen, Reading

NOT_HL7 = "not HL7"
_CHUNK = 1 << 16


class Listener:
    """One listening port. `start`, then `stop` to finish what is in hand."""

    def __init__(self, listen: Listen, reading: Reading, intake: Intake) -> None:
        self._listen = listen
        self._reading = reading
        self._intake = intake
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.port = listen.port

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken or not ours."""
        self._server = await asyncio.start_server(
            self._connected, self._listen.address, self._listen.port, limit=_CHUNK, backlog=256
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Accept no more connections, answer the messages already read, close."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for task in list(self._idle):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: str = writer.get_extra_info("peername")[0]
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        allowed = any(ip_address(peer) in network for network in self._listen.allow)
        if not allowed or len(self._connections) >= self._listen.max_connections or self._stopping:
            event(logging.WARNING, "connection refused", peer=peer, allowed=allowed)
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer, peer, task)
        except (ConnectionError, TimeoutError) as error:
            event(logging.INFO, "connection ended", peer=peer, cause=type(error).__name__)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str, task: asyncio.Task[None]
    ) -> None:
        decoder = mllp.Decoder(self._listen.max_frame_bytes)
        while not self._stopping:
            self._idle.add(task)
            try:
                async with asyncio.timeout(self._listen.idle_s):
                    data = await reader.read(_CHUNK)
            finally:
                self._idle.discard(task)
            if not data:
                if decoder.partial:
                    event(logging.WARNING, "connection closed inside a frame", peer=peer)
                return
            if not await self._answer_all(list(decoder.feed(data)), writer, peer):
                return

    async def _answer_all(self, events: list[mllp.Event], writer: asyncio.StreamWriter, peer: str) -> bool:
        """Store and answer everything one chunk completed, in order; False when the connection must close."""
        pending: list[tuple[Header | None, Future[bool]]] = []
        oversize: mllp.Oversize | None = None
        for one in events:
            if isinstance(one, mllp.Frame):
                pending.append(self._submit(one.payload, peer))
            elif isinstance(one, mllp.Oversize):
                oversize = one
                break
            else:
                event(
                    logging.WARNING,
                    "bytes outside a frame",
                    peer=peer,
                    size=one.size,
                    abandoned=one.abandoned,
                )
        for header, future in pending:
            writer.write(mllp.wrap(await self._answer(header, future, peer)))
            await writer.drain()
        if oversize is not None:
            event(logging.WARNING, "frame too large", peer=peer, limit=self._listen.max_frame_bytes)
            writer.write(mllp.wrap(self._too_large(oversize.head)))
            await writer.drain()
        return oversize is None

    def _submit(self, raw: bytes, peer: str) -> tuple[Header | None, Future[bool]]:
        """Queue one payload for storing. Bytes that are not HL7 are kept too (parked), but answered AR."""
        try:
            header = peek(raw, self._reading.encoding, self._reading.encoding_by_sender)
        except NotHl7Error as error:
            arrival = store.Arrival(f"|{peer}", "", "", "", peer, raw, store.now(), f"{NOT_HL7}: {error}")
            return None, self._intake.submit(arrival)
        return header, self._intake.submit(
            store.Arrival(
                header.sender, header.time, header.control_id, header.message_type, peer, raw, store.now()
            )
        )

    async def _answer(self, header: Header | None, future: Future[bool], peer: str) -> bytes:
        reason = ""
        try:
            new = await asyncio.wrap_future(future)
        except RefusedError as error:
            new, reason = False, str(error)
            event(
                logging.ERROR,
                "refused",
                peer=peer,
                reason=reason,
                control_id=header.control_id if header else "",
            )
        moment = datetime.now(UTC)
        if header is None:
            event(logging.WARNING, "not HL7", peer=peer, kept=not reason, new=new)
            return reject("not an HL7 message: no MSH segment", moment)
        return acknowledge(header, "AE" if reason else "AA", reason, moment)

    def _too_large(self, head: bytes) -> bytes:
        reason = f"message larger than {self._listen.max_frame_bytes} bytes"
        try:
            return acknowledge(peek(head, self._reading.encoding), "AR", reason, datetime.now(UTC))
        except NotHl7Error:
            return reject(reason, datetime.now(UTC))
