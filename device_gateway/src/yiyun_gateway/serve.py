"""The gateway's main process: listener and writer thread, with the worker as a child that is kept running."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from yiyun_gateway import store
from yiyun_gateway.config import ConfigError
from yiyun_gateway.intake import Intake
from yiyun_gateway.listener import Listener
from yiyun_gateway.logs import event

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from yiyun_gateway.config import Config

_RESTART_S = 1.0
_STOP_S = 15.0


class Child:
    """The worker process; `wake` tells it that something was stored."""

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._process: Process | None = None

    async def keep(self) -> None:
        """Start the worker and start it again whenever it ends."""
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "yiyun_gateway", "worker", "--config", str(self._config_path),
                stdin=asyncio.subprocess.PIPE,
            )  # fmt: skip
            code = await self._process.wait()
            event(logging.ERROR, "worker ended, starting it again", code=code)
            await asyncio.sleep(_RESTART_S)

    def wake(self) -> None:
        """Wake the worker; a wake-up that is still unread need not be repeated."""
        pipe = self._process.stdin if self._process else None
        if pipe is not None and not pipe.is_closing() and pipe.transport.get_write_buffer_size() == 0:
            pipe.write(b".")

    async def finish(self) -> None:
        """Let the worker finish what is in flight and end."""
        if self._process is None or self._process.returncode is not None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def lock(path: Path) -> int:
    """Hold the store for this process; the handle must stay open. Raises ConfigError when it is held."""
    try:
        handle = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{path}: another yiyun-gateway serves this store; stop it first") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; create the folder, owned by the gateway's user"
        ) from error
    return handle


async def run(config: Config, config_path: Path) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in hand.

    Raises ConfigError or StoreError when the store or the address cannot be used.
    """
    os.umask(0o077)
    handle = lock(config.store.path)
    db = store.connect(config.store.path, durable=True)
    loop = asyncio.get_running_loop()
    child = Child(config_path)
    intake = Intake(
        lambda batch: store.accept(db, batch, config.store.max_bytes),
        lambda new: None if loop.is_closed() or not new else loop.call_soon_threadsafe(child.wake) and None,
    )
    listener = Listener(config.listen, config.reading, intake)
    try:
        await listener.start()
    except OSError as error:
        raise ConfigError(
            f"{config_path}: cannot listen on {config.listen.address}:{config.listen.port}"
            f" ({error.strerror}); correct listen.address or listen.port"
        ) from error
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keeper = asyncio.create_task(child.keep())
    event(logging.INFO, "listening", address=config.listen.address, port=listener.port, site=config.site)
    await stop.wait()
    event(logging.INFO, "stopping")
    await listener.stop()
    await asyncio.to_thread(intake.close)
    keeper.cancel()
    with suppress(asyncio.CancelledError):
        await keeper
    await child.finish()
    db.close()
    os.close(handle)
    event(logging.INFO, "stopped")
