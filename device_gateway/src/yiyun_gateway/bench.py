"""How many results a second become durable, and how long an acknowledgement takes: a bounded measurement.

The gateway runs as in production (own process, worker parsing beside it); the line is down.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yiyun_gateway import mllp

if TYPE_CHECKING:
    import argparse
    from asyncio.subprocess import Process

_CONFIG = """site = "bench"
log_level = "warning"
[listen]
port = 0
[store]
path = "{folder}/store.db"
max_bytes = 2147483648
[uplink]
urls = []
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench`."""
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument(
        "--folder", type=Path, help="where to make the scratch folder: its disk is what is measured"
    )


def message(connection: int, number: int) -> bytes:
    """Return one result message as an analyser sends it, unique by its control id."""
    return (
        f"MSH|^~\\&|BENCH|B{connection}|YIYUN|EDGE|20260101120000+0800||ORU^R01|{connection}-{number}|P|2.5.1"
        "||||||UNICODE UTF-8\r"
        f"PID|1||P{connection}^^^HIS^MR||王^小东||19600102|M\r"
        f"OBR|1||F{number}|GLU^血糖|||20260101115000\r"
        "OBX|1|NM|GLU^血糖||5.6|mmol/L|3.9-6.1|N|||F\r"
    ).encode()


async def _client(port: int, connection: int, until: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.monotonic() < until:
        number += 1
        begun = time.monotonic()
        writer.write(mllp.wrap(message(connection, number)))
        answer = await reader.readuntil(b"\x1c\r")
        if f"MSA|AA|{connection}-{number}".encode() not in answer:
            raise RuntimeError(f"not acknowledged: {answer!r}")
        took.append(time.monotonic() - begun)
    writer.close()


async def _listening(process: Process) -> int:
    assert process.stdout is not None  # noqa: S101 - it was asked for a pipe
    async for line in process.stdout:
        found: dict[str, Any] = json.loads(line)
        if found["event"] == "listening":
            return int(found["port"])
    raise RuntimeError("the gateway did not start")


async def measure(connections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Run the load and return connections, messages, a second, p50_ms and p99_ms of the acknowledgement."""
    config = folder / "gateway.toml"
    config.write_text(_CONFIG.format(folder=folder).replace('"warning"', '"info"'), "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "yiyun_gateway",
        "serve",
        "--config",
        str(config),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        port = await asyncio.wait_for(_listening(process), 20)
        took: list[float] = []
        begun = time.monotonic()
        until = begun + seconds
        await asyncio.gather(*(_client(port, n, until, took) for n in range(connections)))
        elapsed = time.monotonic() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
    took.sort()
    return {
        "connections": connections,
        "cores": os.cpu_count() or 0,
        "messages": len(took),
        "per_second": round(len(took) / elapsed, 1),
        "p50_ms": round(1000 * took[len(took) // 2], 2),
        "p99_ms": round(1000 * took[int(len(took) * 0.99)], 2),
    }


def run(options: argparse.Namespace) -> int:
    """Measure in a scratch folder, print one JSON object, remove the folder."""
    folder = Path(tempfile.mkdtemp(prefix="yiyun-gateway-bench-", dir=options.folder))
    try:
        print(json.dumps(asyncio.run(measure(options.connections, options.seconds, folder))))  # noqa: T201 - the result
    finally:
        shutil.rmtree(folder)
    return 0
