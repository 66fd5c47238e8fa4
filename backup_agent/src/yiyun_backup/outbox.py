"""What is on its way to the stores: segments that were cut, in order, until every region has them.

The order of writing makes a kill at any moment harmless: the object first, then the stream's own note of how
far it has come. An object beyond the note is taken up or cut anew, never both.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yiyun_backup.errors import BackupError
from yiyun_backup.files import write_whole
from yiyun_backup.gtids import GtidSet
from yiyun_backup.segments import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from yiyun_backup.store import Store

FIRST_REST, LONGEST_REST = 0.5, 15.0
"""Seconds before a store that failed is asked again: doubled each time."""


@dataclass(frozen=True)
class Head:
    """How far a stream has come. `held`: everything it stored, or held when it began."""

    seq: int = 0
    digest: str = ""
    head_seq: int = 0
    held: GtidSet = field(default_factory=GtidSet)
    begun: bool = False

    def text(self) -> bytes:
        """As the note has it."""
        return json.dumps({**vars(self), "held": str(self.held)}).encode()

    @classmethod
    def read(cls, data: bytes) -> Head:
        """From the note."""
        raw = json.loads(data)
        return cls(**(raw | {"held": GtidSet.parse(raw["held"])}))


class Outbox:
    """The folder of one stream on its host."""

    def __init__(self, folder: Path, stream: str, regions: Sequence[str], limit_bytes: int) -> None:
        self.folder, self.stream, self.regions, self.limit_bytes = folder, stream, tuple(regions), limit_bytes
        self.changed = threading.Condition()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        note = folder / "head.json"
        self.head = Head.read(note.read_bytes()) if note.exists() else Head()
        self._sent = {region: self._read_sent(region) for region in self.regions}
        for path in self._objects(beyond=self.head.seq):
            path.unlink()

    def begin(self, held: GtidSet) -> None:
        """Note what the stream starts with; once in its life."""
        self.head = Head(held=held, begun=True)
        write_whole(self.folder / "head.json", self.head.text())

    def add(self, data: bytes, head: Head) -> None:
        """Take a segment over; `head`: how far the stream has come with it."""
        write_whole(self.folder / f"{head.seq:012d}", data)
        write_whole(self.folder / "head.json", head.text())
        with self.changed:
            self.head = head
            self.changed.notify_all()

    @property
    def is_full(self) -> bool:
        """Whether no more should be cut before something was sent."""
        total = 0
        for path in self._objects():
            with suppress(FileNotFoundError):  # a sender has just removed it: it is stored everywhere
                total += path.stat().st_size
        return total > self.limit_bytes

    def sent(self, region: str) -> int:
        """The last segment that a region has."""
        return self._sent[region]

    def next_of(self, region: str) -> tuple[int, bytes] | None:
        """The next segment a region lacks."""
        seq = self._sent[region] + 1
        path = self.folder / f"{seq:012d}"
        return (seq, path.read_bytes()) if seq <= self.head.seq else None

    def mark_sent(self, region: str, seq: int) -> None:
        """A region has a segment; what all have is removed here."""
        write_whole(self.folder / f"sent-{region}", str(seq).encode())
        with self.changed:
            self._sent[region] = seq
            done = min(self._sent.values())
        for path in self._objects():
            if int(path.name) <= done:
                path.unlink(missing_ok=True)

    def waits_since(self, region: str) -> float | None:
        """When the oldest segment that a region lacks was cut, seconds since 1970."""
        path = self.folder / f"{self._sent[region] + 1:012d}"
        try:
            return path.stat().st_mtime
        except FileNotFoundError:
            return None

    def _objects(self, beyond: int = 0) -> list[Path]:
        found = (path for path in self.folder.iterdir() if path.name.isdecimal())
        return sorted(path for path in found if int(path.name) > beyond)

    def _read_sent(self, region: str) -> int:
        note = self.folder / f"sent-{region}"
        return int(note.read_text()) if note.exists() else self._before_first()

    def _before_first(self) -> int:
        """A region that is new here gets what is still there, and all that follows."""
        objects = self._objects()
        return int(objects[0].name) - 1 if objects else self.head.seq


class Sender(threading.Thread):
    """Brings segments to one region, in order, for as long as it takes."""

    def __init__(
        self,
        outbox: Outbox,
        region: str,
        open_store: Callable[[], Store],
        keep: timedelta,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"sender-{region}", daemon=True)
        self._outbox, self._region, self._open, self._keep, self._stop_asked = (
            outbox,
            region,
            open_store,
            keep,
            stop,
        )
        self.problem = ""

    def run(self) -> None:
        """Send until asked to stop."""
        store: Store | None = None
        rest = FIRST_REST
        while not self._stop_asked.is_set():
            waiting = self._outbox.next_of(self._region)
            if waiting is None:
                with self._outbox.changed:
                    self._outbox.changed.wait(0.2)
                continue
            seq, data = waiting
            try:
                store = store or self._open()
                store.put(key_of(self._outbox.stream, seq), data, datetime.now(UTC) + self._keep)
            except (BackupError, OSError) as error:
                self.problem, store = str(error), None
                self._stop_asked.wait(rest)
                rest = min(2 * rest, LONGEST_REST)
                continue
            self.problem, rest = "", FIRST_REST
            self._outbox.mark_sent(self._region, seq)


def state_of(outbox: Outbox, senders: Mapping[str, Sender], now: float) -> dict[str, Any]:
    """What a screen shows: how far each region is, and since when it waits."""
    regions: dict[str, Any] = {}
    for region, sender in senders.items():
        since = outbox.waits_since(region)
        regions[region] = {
            "stored": outbox.sent(region),
            "behind_s": round(now - since, 3) if since is not None else 0.0,
            "problem": sender.problem,
        }
    return {"stream": outbox.stream, "cut": outbox.head.seq, "regions": regions}
