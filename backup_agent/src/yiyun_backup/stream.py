"""A stream: one member's log as an unbroken chain of segments, whoever the source is at the moment.

A session is one connection to one source. When it ends, the next source is asked for what is still missing,
by GTID; what no source holds any more is a hole, which only a new base closes, and is said.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yiyun_backup import binlog, signed
from yiyun_backup.binlog import LogError, Transaction
from yiyun_backup.gtids import Gathered, GtidSet
from yiyun_backup.segments import Seal, Segment, pack
from yiyun_backup.source import Source, SourceError, State, ask, pour

if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from yiyun_backup.outbox import Outbox

CUT_SECONDS = 1.5
"""A segment is cut when its first transaction is so old."""
CUT_BYTES = 8 << 20
LOOK_SECONDS = 0.1
REST_SECONDS = 1.0
SILENT_SECONDS = 30.0
"""A source that sends nothing for so long is asked whether it is still there."""


@dataclass(frozen=True)
class Piece:
    """What is cut: whole transactions of one file of the source, with its head if they begin there."""

    log: str
    head: bool
    begins: int
    ends: int
    data: bytes
    gtids: GtidSet
    transactions: int
    first_us: int
    last_us: int


class Cutter:
    """Cuts the files that a session's tool writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = ""
        self._offset = 0
        self._position = 0
        self._since: float | None = None

    def cut(self, now: float, *, all_of_it: bool = False) -> Piece | None:
        """The next piece when it is time for one. Raises LogError."""
        names = sorted(p.name for p in self._folder.iterdir() if p.suffix[1:].isdecimal())
        if not names:
            return None
        self._file = self._file or names[0]
        found = self._next(now, all_of_it=all_of_it or self._file != names[-1])
        if found is None and self._file != names[-1]:
            (self._folder / self._file).unlink()
            self._file, self._offset = names[names.index(self._file) + 1], 0
            return self._next(now, all_of_it=all_of_it)
        return found

    def _next(self, now: float, *, all_of_it: bool) -> Piece | None:
        opened = os.open(self._folder / self._file, os.O_RDONLY)
        try:
            size = os.fstat(opened).st_size
            begins = self._offset or len(binlog.MAGIC)
            if size <= begins:
                return None
            if self._since is None:
                self._since = now
            if not all_of_it and now - self._since < CUT_SECONDS and size - begins < CUT_BYTES:
                return None
            found = self._piece(opened, begins, size)
        finally:
            os.close(opened)
        return found

    def _piece(self, opened: int, begins: int, size: int) -> Piece | None:
        """Up to `CUT_BYTES`, but one transaction at least."""
        gathered, first, last, count = Gathered(), 0, 0, 0
        end, start, position = begins, 0, self._position
        for piece in binlog.pieces(lambda at, n: os.pread(opened, n, at), begins, size):
            if isinstance(piece, Transaction):
                gathered.add(piece.source, piece.number)
                first = min(first or piece.committed_us, piece.committed_us)
                last = max(last, piece.committed_us)
                start = start or piece.position - piece.length
                count += 1
            end = piece.end
            position = piece.position or position
            if count and end - begins >= CUT_BYTES:
                break
        if not count:
            return None
        data = os.pread(opened, end - begins, begins)
        binlog.check(data, checksums=True)
        head = self._offset == 0
        self._offset, self._position, self._since = end, position, None
        return Piece(self._file, head, start, position, data, gathered.frozen(), count, first, last)


class Stream:
    """The stream of one host."""

    def __init__(
        self,
        estate: str,
        outbox: Outbox,
        sources: Sequence[Source],
        seal: Seal,
        folder: Path,
        *,
        say: Callable[[str], None],
    ) -> None:
        self._estate, self._outbox, self._sources, self._seal, self._folder = (
            estate,
            outbox,
            sources,
            seal,
            folder,
        )
        self._say = say
        self.source = ""
        self.hole = GtidSet()
        """Of the newest session that had one."""

    def run(self, stop: threading.Event) -> None:
        """Stream until asked to stop."""
        while not stop.is_set():
            for source in self._sources:
                if stop.is_set():
                    return
                try:
                    self._session(source, stop)
                except (SourceError, LogError) as error:
                    self._say(f"{source.member}: {error}")
            stop.wait(REST_SECONDS)

    def _session(self, source: Source, stop: threading.Event) -> None:
        state = ask(source)
        head = self._outbox.head
        if not head.begun:
            self._outbox.begin(state.purged)
            head = self._outbox.head
        if not state.online:
            raise SourceError("it is not a member that serves")
        if beyond := head.held - state.executed:
            raise SourceError(f"it lacks what the stream holds: {str(beyond)[:200]}")
        hole = state.purged - head.held
        if hole:
            self.hole = hole
            self._say(
                f"{source.member} holds {len(hole)} transaction(s) no more that were never stored: {hole}"
            )
        session = uuid.uuid4().hex[:12]
        folder = self._folder / session
        shutil.rmtree(self._folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        server_id = int.from_bytes(uuid.uuid4().bytes[:3], "big") + (1 << 24)
        tool = pour(source, state, head.held | hole, folder, server_id)
        self.source = source.member
        try:
            for piece in self._pieces(folder, tool, source, stop):
                self._store(piece, session, source, state, hole)
                hole = GtidSet()
        finally:
            tool.kill()
            tool.wait()
            self.source = ""
            shutil.rmtree(folder, ignore_errors=True)

    def _pieces(
        self, folder: Path, tool: subprocess.Popen[bytes], source: Source, stop: threading.Event
    ) -> Iterator[Piece]:
        cutter, heard = Cutter(folder), time.monotonic()
        while not stop.is_set():
            ended = tool.poll() is not None
            found = None if self._outbox.is_full else cutter.cut(time.monotonic(), all_of_it=ended)
            if found is not None:
                heard = time.monotonic()
                yield found
                continue
            if ended:
                text = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()
                raise SourceError(f"the log ended: {' '.join(text.split())[-300:] or tool.returncode}")
            if time.monotonic() - heard > SILENT_SECONDS:
                ask(source)
                heard = time.monotonic()
            stop.wait(LOOK_SECONDS)
        while (found := cutter.cut(time.monotonic(), all_of_it=True)) is not None:
            yield found

    def _store(self, piece: Piece, session: str, source: Source, state: State, hole: GtidSet) -> None:
        head = self._outbox.head
        manifest = Segment(
            estate=self._estate,
            stream=self._outbox.stream,
            seq=head.seq + 1,
            prev=head.digest,
            session=session,
            member=source.member,
            source=state.uuid,
            version=state.version,
            log=piece.log,
            begins=piece.begins,
            ends=piece.ends,
            head_seq=head.seq + 1 if piece.head else head.head_seq,
            held=str(head.held),
            hole=str(hole),
            gtids=str(piece.gtids),
            transactions=piece.transactions,
            first_us=str(piece.first_us),
            last_us=str(piece.last_us),
            cut_at=datetime.now(UTC),
            sha256="",
            bytes=0,
            sealed_sha256="",
            sealed_bytes=0,
        )
        whole, data = pack(manifest, piece.data, self._seal)
        held = head.held | hole | piece.gtids
        further = replace(
            head, seq=whole.seq, head_seq=whole.head_seq, digest=signed.digest(whole), held=held
        )
        self._outbox.add(data, further)
