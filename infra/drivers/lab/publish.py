"""The publisher: 127.0.0.1 ports of this machine that lead into a lab.

`python -m infra.drivers.lab.publish --estate NAME` (with `YIYUN_STATE`) listens until it is ended.
A connection starts inside the lab, from the address an operator or a client has there, so the fabric
judges it as any other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import signal
import socket
from typing import TYPE_CHECKING

from infra.drivers.lab.names import qualified
from infra.drivers.lab.netlink import inside
from infra.drivers.lab.settings import read_settings
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from infra.drivers.lab.settings import Door

CHUNK = 1 << 16
CONNECT_SECONDS = 10.0
log = logging.getLogger("yiyun.publish")


def socket_inside(namespace: str, source: str) -> socket.socket:
    """A TCP socket that lives in a network namespace, bound to an address there. Raises OSError."""
    with inside(namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        made.bind((source, 0))
    except OSError:
        made.close()
        raise
    return made


async def serve_door(estate: str, door: Door) -> asyncio.Server:
    """Listen for one door. Raises OSError when its port is taken."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _carry(estate, door, reader, writer)
        except (OSError, TimeoutError) as error:
            log.info("%s: %s", door.name, error)
        finally:
            writer.close()

    return await asyncio.start_server(client, "127.0.0.1", door.listen, limit=CHUNK, backlog=256)


async def _carry(estate: str, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner = socket_inside(qualified(door.lab or estate, door.namespace), door.source)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(inner, (door.address, door.port))
        far_reader, far_writer = await asyncio.open_connection(sock=inner, limit=CHUNK)
    except BaseException:
        inner.close()
        raise
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, far_writer))
            both.create_task(_pump(far_reader, writer))
    except* OSError as errors:
        log.debug("%s: %s", door.name, errors.exceptions[0])
    finally:
        far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction, and pass its end on, so that half-closed connections stay so."""
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def serve(paths: EstatePaths) -> None:
    """Serve all doors of a lab until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    servers = [await serve_door(paths.estate, door) for door in read_settings(paths).doors]
    log.info("listening: %s", ", ".join(str(d.listen) for d in read_settings(paths).doors))
    await ended.wait()
    for server in servers:
        server.close()


def main() -> int:
    """Entry point. Exit code 1 when a port is taken."""
    parser = argparse.ArgumentParser(prog="python -m infra.drivers.lab.publish")
    parser.add_argument("--estate", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        asyncio.run(serve(EstatePaths(arguments.estate)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        log.error("%s", error)  # noqa: TRY400  a taken port is no programming error
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
