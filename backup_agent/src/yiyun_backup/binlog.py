"""A MySQL binary log as whole transactions: where each begins and ends, who numbered it, and when.

Layout of events: MySQL's Reference of the replication protocol ("Binlog Event Header", "GTID_LOG_EVENT").
A transaction's first event carries its length, so nothing inside has to be understood.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from yiyun_backup.gtids import Gathered, GtidSet, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC = b"\xfebin"
HEADER = struct.Struct("<IBIIIH")
CHECKSUM_BYTES = 4
FORMAT_DESCRIPTION, ROTATE, GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, TAGGED_GTID = 15, 4, 33, 34, 35, 42
_FIXED = struct.Struct("<B16sQBQQ")
"""flags, uuid, number, kind of logical times, after, sequence; then one time or two, and the length."""
_TIME_BYTES = 7
IN_USE = 0x01
"""Flag of a log that its server has not closed; it is not in the checksum."""
_ORIGINAL_DIFFERS = 1 << 55
_LONGEST_HEAD = 200
"""No event that begins a transaction is longer."""


class LogError(ValueError):
    """The log is not what a server writes: damaged, or of a kind that is not known here."""


@dataclass(frozen=True)
class Transaction:
    """One transaction in a log. `position`: of its end, in the source's own file."""

    offset: int
    length: int
    source: Source
    number: int
    committed_us: int
    """When its own server committed it, microseconds since 1970 by that server's clock."""
    position: int
    sequence: int = 0
    """Its place in the source's own file, from 1."""
    after: int = 0
    """It may depend on everything of that file up to this place, and on all files before."""

    @property
    def end(self) -> int:
        """Offset of what follows."""
        return self.offset + self.length


@dataclass(frozen=True)
class Other:
    """An event outside every transaction: what a log begins with, or its end."""

    offset: int
    length: int
    type: int
    position: int

    @property
    def end(self) -> int:
        """Offset of what follows."""
        return self.offset + self.length


def pieces(read: Callable[[int, int], bytes], offset: int, end: int) -> Iterator[Transaction | Other]:
    """Everything that is whole between two offsets of a log. Raises LogError.

    `read`: (offset, length) → bytes, fewer at the end. `offset`: of the first event, past `MAGIC`.
    """
    while offset + HEADER.size <= end:
        head = read(offset, min(_LONGEST_HEAD, end - offset))
        _, kind, _, size, position, _ = HEADER.unpack_from(head)
        if size < HEADER.size:
            raise LogError(f"an event of {size} bytes at {offset}")
        if kind == ANONYMOUS_GTID:
            raise LogError(f"a transaction without a GTID at {offset}")
        if kind not in {GTID, TAGGED_GTID}:
            found: Transaction | Other = Other(offset, size, kind, position)
        elif offset + size > end:
            return
        else:
            found = _transaction(offset, head[:size], kind, position, size)
        if found.end > end:
            return
        yield found
        offset = found.end


def check(log: bytes, *, checksums: bool) -> int:
    """Verify every event of whole pieces. Returns how many there are. Raises LogError, naming the offset."""
    offset = count = 0
    while offset < len(log):
        if offset + HEADER.size > len(log):
            raise LogError(f"the log ends inside an event at {offset}")
        size = HEADER.unpack_from(log, offset)[3]
        event = log[offset : offset + size]
        if len(event) < size or size < HEADER.size:
            raise LogError(f"the log ends inside an event at {offset}")
        if checksums and not _sums(event):
            raise LogError(f"the event at {offset} does not sum up")
        offset += size
        count += 1
    return count


def describes_checksums(event: bytes) -> bool:
    """Whether a format description says that every event ends in a checksum."""
    algorithm = event[-CHECKSUM_BYTES - 1]
    if algorithm not in {0, 1}:
        raise LogError(f"checksums of kind {algorithm}")
    return algorithm == 1


def server_version(event: bytes) -> str:
    """The version in a format description."""
    start = HEADER.size + 2
    return event[start : start + 50].rstrip(b"\0").decode("ascii", "replace")


def _sums(event: bytes) -> bool:
    body = bytearray(event[:-CHECKSUM_BYTES])
    if body[4] == FORMAT_DESCRIPTION:
        body[17] &= ~IN_USE & 0xFF
    return zlib.crc32(body) == int.from_bytes(event[-CHECKSUM_BYTES:], "little")


def _transaction(offset: int, event: bytes, kind: int, position: int, size: int) -> Transaction:
    body = event[HEADER.size :]
    if kind == TAGGED_GTID:
        raise LogError(f"a transaction with a tagged GTID at {offset}: not readable yet")
    _, uuid, number, _, after, sequence = _FIXED.unpack_from(body)
    at = _FIXED.size
    committed = int.from_bytes(body[at : at + _TIME_BYTES], "little")
    at += _TIME_BYTES
    if committed & _ORIGINAL_DIFFERS:
        committed = int.from_bytes(body[at : at + _TIME_BYTES], "little")
        at += _TIME_BYTES
    length = _packed(body, at)
    if length < size:
        raise LogError(f"a transaction of {length} bytes at {offset}")
    end = position - size + length
    return Transaction(offset, length, Source(str(UUID(bytes=uuid))), number, committed, end, sequence, after)


def _packed(body: bytes, at: int) -> int:
    """MySQL's length-encoded integer."""
    first = body[at]
    if first < 251:
        return first
    width = {252: 2, 253: 3, 254: 8}.get(first)
    if width is None:
        raise LogError(f"no length: {first}")
    return int.from_bytes(body[at + 1 : at + 1 + width], "little")


def gtids_of(log: bytes) -> GtidSet:
    """The transactions of whole pieces. Raises LogError."""
    gathered = Gathered()
    for piece in pieces(lambda at, count: log[at : at + count], 0, len(log)):
        if isinstance(piece, Transaction):
            gathered.add(piece.source, piece.number)
    return gathered.frozen()
