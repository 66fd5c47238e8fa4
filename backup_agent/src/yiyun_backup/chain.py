"""Whether segments of a stream follow each other without a gap, and what they hold together.

A gap is not seen by the server that replays a log: it applies what comes after, and reports success
(measured). So nothing is replayed that did not pass here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yiyun_backup.errors import DamageError
from yiyun_backup.gtids import GtidSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yiyun_backup.segments import Segment
    from yiyun_backup.signed import Opened


@dataclass(frozen=True)
class Hole:
    """Transactions that no segment of the stream holds: only a new base closes it."""

    before_seq: int
    gtids: GtidSet


@dataclass(frozen=True)
class Chain:
    """Segments that were checked. `held`: what the stream has passed with them, holes included."""

    stream: str
    first: int = 0
    last: int = 0
    digest: str = ""
    """Of the last manifest."""
    held: GtidSet = field(default_factory=GtidSet)
    gtids: GtidSet = field(default_factory=GtidSet)
    """Of these segments alone."""
    holes: tuple[Hole, ...] = ()
    newest: Segment | None = None


def follow(stream: str, segments: Iterable[Opened], known: Chain | None = None) -> Chain:
    """Check segments in the order of their names. `known`: what they must follow; else any may be the first.

    Raises DamageError with the check `chain`, naming the segment.
    """
    chain = known or Chain(stream)
    for opened in segments:
        chain = _next(chain, opened)
    return chain


def _next(chain: Chain, opened: Opened) -> Chain:
    segment: Segment = opened.document
    what = f"segment {segment.seq} of {chain.stream}"
    if segment.stream != chain.stream:
        raise DamageError("chain", f"{what} says that it is of {segment.stream}")
    if chain.newest is not None:
        _must_follow(chain, chain.newest, segment, what)
    held, holes = GtidSet.parse(segment.held), chain.holes
    if chain.newest is not None and held != chain.held:
        raise DamageError("chain", f"{what} begins after other transactions than came before it")
    if segment.hole:
        holes = (*holes, Hole(segment.seq, GtidSet.parse(segment.hole)))
        held = held | holes[-1].gtids
    if twice := segment.set & held:
        raise DamageError("chain", f"{what} holds what came before it: {str(twice)[:200]}")
    return Chain(
        chain.stream,
        chain.first or segment.seq,
        segment.seq,
        opened.digest,
        held | segment.set,
        chain.gtids | segment.set,
        holes,
        segment,
    )


def _must_follow(chain: Chain, last: Segment, segment: Segment, what: str) -> None:
    if segment.seq != last.seq + 1:
        gone = (
            f"segment {last.seq + 1} of {chain.stream} is missing"
            if segment.seq > last.seq
            else (f"{what} stands after segment {last.seq}")
        )
        raise DamageError("chain", gone)
    if segment.prev != chain.digest:
        raise DamageError("chain", f"{what} does not follow the segment before it, but another")
    if segment.estate != last.estate:
        raise DamageError("chain", f"{what} is of the estate {segment.estate}, not {last.estate}")
    if segment.session != last.session:
        if not segment.head:
            raise DamageError("chain", f"{what} begins a session in the middle of a log")
        return
    if segment.source != last.source:
        raise DamageError("chain", f"{what} is of another server than its session")
    same = segment.log == last.log
    if same and segment.begins < last.ends:
        text = f"{what} begins at {segment.begins} of {segment.log}, the one before it ended at {last.ends}"
        raise DamageError("chain", text)
    if segment.head_seq != (last.head_seq if same else segment.seq):
        raise DamageError("chain", f"{what} begins {'anew in' if same else 'in the middle of'} {segment.log}")
