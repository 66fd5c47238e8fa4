"""Clients of the public door, good and bad, each from an address of its own.

Run inside the lab's internet, `ip netns exec yy-ESTATE-inet python -m tests.lab.flood KIND`, with a JSON
object on stdin; prints a JSON object.
Every kind is bounded in number and time.

client       a browser that asks at an even pace; latency counts from the moment a request was meant to start
syns         first packets from a whole range of addresses that never answer
connections  as many TCP connections as can be had, held open
requests     as many requests as can be had over a few TLS connections
slow         request heads sent a byte at a time
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import sys
import time
from collections import Counter
from typing import Any

import httpx

from infra.drivers.lab.inject import first_packet

Options = dict[str, Any]


def context(options: Options) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=options["authority"])


async def client(options: Options) -> Options:
    """`rate` requests a second for `seconds`."""
    transport = httpx.AsyncHTTPTransport(verify=context(options), local_address=options["source"])
    seconds: list[float] = []
    failures: list[str] = []

    async def once(browser: httpx.AsyncClient, intended: float) -> None:
        try:
            answer = await browser.get(
                f"https://{options['address']}:{options['port']}{options['path']}",
                headers={"Host": options["name"]},
                extensions={"sni_hostname": options["name"]},
            )
        except httpx.HTTPError as error:
            failures.append(repr(error))
            return
        if answer.status_code != httpx.codes.OK:
            failures.append(str(answer.status_code))
        seconds.append(time.monotonic() - intended)

    async with httpx.AsyncClient(transport=transport, timeout=15, cookies=options["cookies"]) as browser:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(options["rate"] * options["seconds"])):
                intended = began + number / options["rate"]
                await asyncio.sleep(max(0.0, intended - time.monotonic()))
                group.create_task(once(browser, intended))
    return {"seconds": seconds, "failures": failures}


async def syns(options: Options) -> Options:
    """`rate` first packets a second for `seconds`, from all addresses of `sources` (the head of a /24)."""
    sent, began = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while (passed := time.monotonic() - began) < options["seconds"]:
            while sent < passed * options["rate"]:
                source = f"{options['sources']}.{random.randint(1, 254)}"  # noqa: S311
                first = source, options["address"], "tcp", options["port"]
                packet = first_packet(first, random.randint(1024, 65535))  # noqa: S311
                raw.sendto(packet, (options["address"], 0))
                sent += 1
            await asyncio.sleep(0.01)
    return {"sent": sent}


async def connections(options: Options) -> Options:
    """`rate` connections a second for `seconds` from `source`; counts those still open at the end."""
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    found: Counter[str] = Counter()
    began = time.monotonic()

    async def once() -> None:
        try:
            async with asyncio.timeout(3):
                opened.append(
                    await asyncio.open_connection(
                        options["address"], options["port"], local_addr=(options["source"], 0)
                    )
                )
        except (OSError, TimeoutError):
            found["refused"] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(int(options["rate"] * options["seconds"])):
            await asyncio.sleep(max(0.0, began + number / options["rate"] - time.monotonic()))
            group.create_task(once())
    await asyncio.sleep(0.5)
    for reader, writer in opened:
        found["closed" if reader.at_eof() or reader.exception() else "open"] += 1
        writer.close()
    return dict(found)


async def requests(options: Options) -> Options:
    """`workers` connections from `source` that ask again once answered, `rate` a second at most."""
    found: Counter[str] = Counter()
    deadline = time.monotonic() + options["seconds"]
    request = f"GET {options['path']} HTTP/1.1\r\nHost: {options['name']}\r\n\r\n".encode()
    pause = options["workers"] / options["rate"]

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while time.monotonic() < deadline:
            started = time.monotonic()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            found[head.split()[1].decode()] += 1
            length = next((x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), b":0")
            await reader.readexactly(int(length.partition(b":")[2]))
            await asyncio.sleep(max(0.0, started + pause - time.monotonic()))

    async def worker() -> None:
        while time.monotonic() < deadline:
            writer = None
            try:
                async with asyncio.timeout(options["seconds"]):
                    reader, writer = await _secure(options)
                    await ask(reader, writer)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                found["closed"] += 1
                await asyncio.sleep(0.05)
            finally:
                if writer is not None:
                    writer.transport.abort()

    await asyncio.gather(*(worker() for _ in range(options["workers"])))
    return dict(found)


async def slow(options: Options) -> Options:
    """`workers` connections from `source` that send a byte a second of a head, for `seconds`."""
    found: Counter[str] = Counter()
    lasted: list[float] = []

    async def worker(number: int) -> None:
        await asyncio.sleep(number / 20)
        began = time.monotonic()
        try:
            reader, writer = await _secure(options)
            for byte in b"GET /login HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * int(options["seconds"]):
                if time.monotonic() - began > options["seconds"]:
                    found["still open"] += 1
                    break
                writer.write(bytes([byte]))
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        answer = await reader.read(4096)
                        found[answer.split()[1].decode() if answer else "closed"] += 1
                        break
            writer.transport.abort()
        except (OSError, IndexError):
            found["closed"] += 1
        lasted.append(time.monotonic() - began)

    await asyncio.gather(*(worker(n) for n in range(options["workers"])))
    return {**found, "longest": round(max(lasted), 1)}


async def _secure(options: Options) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        options["address"],
        options["port"],
        local_addr=(options["source"], 0),
        ssl=context(options),
        server_hostname=options["name"],
    )


KINDS = {"client": client, "syns": syns, "connections": connections, "requests": requests, "slow": slow}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(KINDS[sys.argv[1]](json.load(sys.stdin)))))
