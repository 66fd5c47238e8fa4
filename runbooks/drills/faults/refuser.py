"""Stands in for an object store: answers every request with 503, or cuts each connection half-way.

`python -m runbooks.drills.faults.refuser refuse PORT CERTIFICATE` or `… half PORT TARGET-PORT KIB`, run in
the store's own network namespace. It ends at SIGTERM, or by itself after an hour.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import struct
import sys
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET

LIMIT_SECONDS = 3600.0
"""It ends by itself after that, whatever became of its controller."""
CHUNK_BYTES = 4096
MOST_BYTES = 65536
"""Of a request's head."""
BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ServiceUnavailable</Code>'
    b"<Message>Service is unable to handle request.</Message></Error>"
)
"""Amazon S3 API Reference, Error responses: ServiceUnavailable."""


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """503 to the first request of a connection, which is closed then."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"" if head.startswith(b"HEAD ") else BODY
        lines = [
            b"HTTP/1.1 503 Service Unavailable",
            b"Content-Type: application/xml",
            b"Content-Length: %d" % len(BODY),
            b"Connection: close",
        ]
        writer.write(b"\r\n".join([*lines, b"", body]))
        await writer.drain()
    writer.close()


async def halve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, octets: int) -> None:
    """Pass a connection on to a port of this machine; reset it when so many bytes went by, both ways."""
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.transport.abort()
        return
    left = [octets]
    ways = [
        asyncio.create_task(_pass(reader, far_writer, left)),
        asyncio.create_task(_pass(far_reader, writer, left)),
    ]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    for end in (writer, far_writer):
        if left[0] <= 0:
            _reset(end)
        else:
            end.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]) -> None:
    with suppress(OSError):
        while left[0] > 0 and (data := await reader.read(min(CHUNK_BYTES, left[0]))):
            left[0] -= len(data)
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: nobody can take it for the end of an answer."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def serve(mode: str, port: int, rest: list[str]) -> None:
    """Listen until told to end. Raises OSError for a taken port, ssl.SSLError for a wrong certificate."""
    if mode == "refuse":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(rest[0])
        server = await asyncio.start_server(refuse, "0.0.0.0", port, ssl=context, limit=MOST_BYTES)  # noqa: S104
    else:
        target, octets = int(rest[0]), int(rest[1]) * 1024
        server = await asyncio.start_server(
            lambda r, w: halve(r, w, target, octets),
            "0.0.0.0",  # noqa: S104  the store's own namespace has one address
            port,
        )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with server:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), LIMIT_SECONDS)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
