"""The stream as a service: it cuts, sends to every region, and tells how far it is."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from yiyun_backup.errors import BackupError
from yiyun_backup.files import write_whole
from yiyun_backup.lives import stream_name
from yiyun_backup.outbox import Outbox, Sender, state_of
from yiyun_backup.stream import Stream

if TYPE_CHECKING:
    from yiyun_backup.config import Config

STATE_SECONDS = 1.0
LAST_SECONDS = 10.0
"""How long what is on its way may take when the service is stopped."""


def serve(config: Config) -> None:
    """Stream until SIGTERM; then cut what is there, and give it some time to be sent."""
    stop, stop_sending = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    regions = [region.name for region in config.regions]
    name = _name(config, stop)
    if not name:
        return
    outbox = Outbox(config.state / "outbox", name, regions, config.mysql.outbox_mib << 20)
    keep = timedelta(days=config.keep.log)
    senders = {r: Sender(outbox, r, partial(config.store, r), keep, stop_sending) for r in regions}
    stream = Stream(config.estate, outbox, config.sources(), config.seal, config.state / "spool", say=_say)
    for sender in senders.values():
        sender.start()
    # The state is told by another thread: the tool that brings the log dies with the thread that started it.
    teller = threading.Thread(target=_tell, args=(config, outbox, senders, stream, stop_sending), daemon=True)
    teller.start()
    stream.run(stop)
    ends = time.monotonic() + LAST_SECONDS
    while time.monotonic() < ends and any(outbox.next_of(region) for region in regions):
        time.sleep(0.05)
    stop_sending.set()
    for thread in (*senders.values(), teller):
        thread.join(LAST_SECONDS)


def _name(config: Config, stop: threading.Event) -> str:
    """The stream's name; empty when it was stopped before a store said which ones there are."""
    while not stop.is_set():
        try:
            return stream_name(config)
        except BackupError as error:
            _say(f"waiting for a store that says which streams are there: {error}")
            stop.wait(LAST_SECONDS / 2)
    return ""


def state(outbox: Outbox, senders: dict[str, Sender], stream: Stream) -> dict[str, Any]:
    """What is told: as `state_of`, with the source and the newest hole."""
    told = state_of(outbox, senders, time.time())
    return told | {"source": stream.source, "hole": str(stream.hole), "at": time.time()}


def _tell(
    config: Config, outbox: Outbox, senders: dict[str, Sender], stream: Stream, stop: threading.Event
) -> None:
    config.run.mkdir(parents=True, exist_ok=True)
    while True:
        write_whole(config.run / "stream.json", json.dumps(state(outbox, senders, stream)).encode(), 0o644)
        if stop.wait(STATE_SECONDS):
            return


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
