"""What each layer saw of a drill, in its own words and by its own clock. Pure.

Layers: `router` (HAProxy's health checks), `member` (MySQL's own error log), `alert` (problems of Zabbix).
Their times are wall clocks; `Clock` turns them into the controller's monotonic seconds, so that a timeline
has one axis. In a lab all hosts share the controller's clock; elsewhere their offset adds to the figures.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from runbooks.drills.journal import Event

Layer = Literal["router", "member", "alert"]
ROUTER_WORDS = re.compile(
    r"Server (?P<backend>[\w-]+)/(?P<subject>[\w-]+) is (?P<word>DOWN|UP)\b(?P<rest>[^.]*)"
)
"""HAProxy 3.0 to 3.2: `Server writer/db-1 is DOWN, reason: Layer4 timeout, check duration: 100ms. 2 …`."""
MEMBER_CODES = frozenset(
    f"MY-{number:06d}" for number in (11493, 11494, 11498, 11499, 11501, 11503, 11505, 11507, 13467)
)
"""MySQL's group: member unreachable, reachable, majority lost, blocked, left, removed, left by itself."""


class Sighting(BaseModel):
    """One thing that one observer noticed.

    `at`: Unix seconds of the observer's clock. `subject`: whom it is about, where the observer says so.
    `gone`: whether it says that the subject is lost (true), is back (false), or something else (None).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: Layer
    host: str
    at: float
    subject: str = ""
    gone: bool | None = None
    text: str


@dataclass(frozen=True)
class Clock:
    """The controller's two clocks: Unix seconds less monotonic seconds, at each event of the journal."""

    offsets: tuple[float, ...]

    def mono(self, unix: float) -> float:
        """Monotonic seconds of a wall-clock moment."""
        return unix - self.offsets[0]

    @property
    def jumped(self) -> float:
        """How far the wall clock moved against the monotonic one during the drill, seconds."""
        return max(self.offsets) - min(self.offsets)


def clock_of(events: Sequence[Event]) -> Clock:
    """The controller's clocks during a drill. Raises BadInputError for a journal without events."""
    if not events:
        raise BadInputError("the journal is empty", hint="the evidence is not whole")
    return Clock(tuple(datetime.fromisoformat(e.at).timestamp() - e.mono for e in events))


def router_sightings(host: str, journal: str) -> Iterator[Sighting]:
    """What a router's HAProxy said, from `journalctl -o json` of its unit."""
    for at, text in _journal_lines(journal):
        found = ROUTER_WORDS.search(text)
        if found:
            said = f"{found['subject']} is {found['word']}{found['rest']}".strip()
            gone = found["word"] == "DOWN"
            yield Sighting(layer="router", host=host, at=at, subject=found["subject"], gone=gone, text=said)


def member_sightings(host: str, rows: str) -> Iterator[Sighting]:
    """What a member's group said: lines of `Unix seconds TAB code TAB text`, as `MEMBER_QUERY` gives them."""
    for line in rows.splitlines():
        at, _, rest = line.partition("\t")
        code, _, text = rest.partition("\t")
        if code in MEMBER_CODES:
            yield Sighting(layer="member", host=host, at=float(at), text=text.strip())


def alert_sightings(events: Iterable[dict[str, str]]) -> Iterator[Sighting]:
    """Problems that Zabbix opened, from `event.get` with `clock`, `ns`, `name` and the host of each."""
    for event in events:
        at = int(event["clock"]) + int(event["ns"]) / 1e9
        yield Sighting(layer="alert", host=event["host"], at=at, subject=event["host"], text=event["name"])


def read_sightings(path: Path) -> list[Sighting]:
    """Sightings of a file, a line each. Raises BadInputError naming the line that is none."""
    found: list[Sighting] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(Sighting.model_validate_json(line))
        except ValidationError as error:
            raise BadInputError(
                f"{path.name}:{number} is no sighting", hint="the file was changed"
            ) from error
    return found


def iso(unix: float) -> str:
    """A wall-clock moment as people and `journalctl --since` read it, UTC."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")


def _journal_lines(journal: str) -> Iterator[tuple[float, str]]:
    for line in journal.splitlines():
        entry = json.loads(line)
        if isinstance(entry.get("MESSAGE"), str):
            yield int(entry["__REALTIME_TIMESTAMP"]) / 1e6, entry["MESSAGE"]
