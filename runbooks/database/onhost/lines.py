"""Requests and replies as JSON, a line each, over standard input and output."""

from __future__ import annotations

import json
import os
import select
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIFETIME_SECONDS = 900
TICK_SECONDS = 0.05


def serve(
    handlers: Mapping[str, Callable[..., dict[str, Any]]],
    tick: Callable[[], None] = lambda: None,
    *,
    source: int = 0,
    target: int = 1,
    lifetime: float = LIFETIME_SECONDS,
) -> None:
    """Answer until the input ends, or `lifetime` seconds are over. `tick` is called all the while.

    A request is `{"ask": NAME, …}`, the rest its arguments; a failure's reply is `{"error": TEXT}`.
    """
    pending, ends = b"", time.monotonic() + lifetime
    while time.monotonic() < ends:
        tick()
        if not select.select([source], [], [], TICK_SECONDS)[0]:
            continue
        data = os.read(source, 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            _write(target, json.dumps(_answer(handlers, line)).encode() + b"\n")


def _answer(handlers: Mapping[str, Callable[..., dict[str, Any]]], line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return handlers[request.pop("ask")](**request)
    except Exception as error:  # noqa: BLE001  whatever it is, the other end must hear of it
        return {"error": " ".join(str(a) for a in error.args)[:400] or type(error).__name__}


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
