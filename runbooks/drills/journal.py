"""A drill's journal: one JSON line an event, on the disk before what it announces happens.

`at` is the wall clock (UTC), `mono` seconds of this machine's monotonic clock, from which durations come.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Event:
    """One line of a journal."""

    name: str
    at: str
    mono: float
    fields: dict[str, Any]

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]


class Journal:
    """Appends events to a file, each on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if torn:  # a killed controller's half line must not swallow the next one
            os.write(self._file, b"\n")

    def note(self, event: str, **fields: Any) -> Event:
        """Write one event. Raises OSError when the disk does not take it: then nothing must be done."""
        made = Event(event, datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic(), fields)
        line = {"event": made.name, "at": made.at, "mono": round(made.mono, 6), **fields}
        os.write(self._file, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        os.fsync(self._file)
        return made

    def close(self) -> None:
        """No more events."""
        os.close(self._file)


def read_journal(path: Path) -> list[Event]:
    """The events of a journal; a half line that a killed controller left is passed over.

    Raises BadInputError naming a whole line that is no event.
    """
    events: list[Event] = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            events.append(Event(data.pop("event"), data.pop("at"), data.pop("mono"), data))
        except (ValueError, KeyError, AttributeError) as error:
            if _was_resumed_after(lines, number) or number == len(lines):
                continue
            raise BadInputError(
                f"{path.name}:{number} is no event", hint="the journal was changed"
            ) from error
    return events


def named(events: Sequence[Event], name: str) -> list[Event]:
    """The events of one name, in order."""
    return [event for event in events if event.name == name]


def _was_resumed_after(lines: Sequence[str], number: int) -> bool:
    following = next((line for line in lines[number:] if line.strip()), "")
    return '"event": "resumed"' in following
