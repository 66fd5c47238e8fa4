"""MLLP framing: VT … FS CR around each HL7 message (HL7 v2 Transport Specification, MLLP release 1).

The decoder is fed whatever TCP delivers and yields what it found; it holds at most one frame.
VT and FS occur in no text encoding the gateway reads (UTF-8, GB18030 and ISO 8859 use no trail byte
below 0x30), so either byte inside a message means that the framing is broken, not the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VT, FS, CR = 0x0B, 0x1C, 0x0D
_BETWEEN = b"\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One complete message, without its framing bytes."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Oversize:
    """A frame that grew past the limit; `head` is its beginning. The connection should be closed."""

    head: bytes


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that belong to no complete frame: `size` of them, noise between frames or an abandoned frame."""

    size: int
    abandoned: bool


Event = Frame | Oversize | Garbage


def wrap(payload: bytes) -> bytes:
    """Return the payload as one MLLP frame."""
    return bytes((VT,)) + payload + bytes((FS, CR))


class Decoder:
    """Incremental MLLP decoder for one connection. `max_bytes` bounds the payload of one frame.

    A frame ends at FS CR. FS followed by anything else still ends it (some senders leave CR out), but only
    when the next byte arrives. VT inside a frame abandons that frame, which was never acknowledged.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._frame: bytearray | None = None
        self._ending = False

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._frame is not None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Consume `data` and yield the events it completes, in order."""
        at = 0
        while at < len(data):
            if self._frame is None:
                at, event = self._between(data, at)
            else:
                at, event = self._inside(data, at)
            if event is not None:
                yield event

    def _between(self, data: bytes, at: int) -> tuple[int, Event | None]:
        start = data.find(VT, at)
        noise = data[at:] if start < 0 else data[at:start]
        if start >= 0:
            self._frame = bytearray()
        size = len(noise.translate(None, _BETWEEN))
        after = len(data) if start < 0 else start + 1
        return after, Garbage(size, abandoned=False) if size else None

    def _inside(self, data: bytes, at: int) -> tuple[int, Event | None]:
        if self._ending:
            return (at + 1 if data[at] == CR else at), self._finish()
        assert self._frame is not None  # noqa: S101 - narrows the type; feed() checked it
        ends = [position for position in (data.find(FS, at), data.find(VT, at)) if position >= 0]
        stop = min(ends, default=len(data))
        self._frame += data[at:stop]
        if len(self._frame) > self._max:
            return stop, self._oversize()
        if stop == len(data):
            return stop, None
        if data[stop] == FS:
            self._ending = True
            return stop + 1, None
        size, self._frame = len(self._frame), bytearray()
        return stop + 1, Garbage(size, abandoned=True)

    def _finish(self) -> Frame:
        payload, self._frame, self._ending = bytes(self._frame or b""), None, False
        return Frame(payload)

    def _oversize(self) -> Oversize:
        head, self._frame = bytes((self._frame or b"")[:4096]), None
        return Oversize(head)
