"""What is still needed, from the catalogue alone: one answer for who extends it and who removes the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from yiyun_backup.catalogue import Base, Hold, Snapshot, removed_in, with_copies
from yiyun_backup.errors import BackupError
from yiyun_backup.gtids import GtidSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Keep
    from yiyun_backup.reading import Reader


@dataclass(frozen=True)
class Needs:
    """Bases and snapshots whose data is there, by whether it is needed. `held`: ids, as holds name them."""

    kept: tuple[Entry, ...]
    over: tuple[Entry, ...]
    """Neither of them is held, and none is the newest of its kind."""
    held: frozenset[str]

    @property
    def bases(self) -> list[Entry]:
        """Those that are kept."""
        return [entry for entry in self.kept if isinstance(entry.body, Base)]


def needs_in(
    entries: Mapping[str, Sequence[Entry]], keep: Keep, now: datetime, regions: Collection[str]
) -> Needs:
    """Sort entries (host → its own, in order) by whether any of the regions needs them. Pure.

    A base is needed until another one is that old too: every moment of the time that is kept needs a base
    from before it. Of files the newest snapshot of each service stays, however old. One that did not arrive
    in a region stands for nothing there.
    """
    every = with_copies([entry for them in entries.values() for entry in them])
    removed = removed_in(every)
    held = holds_in(entries)
    lines: dict[tuple[str, ...], list[Entry]] = {}
    for entry in every:
        if entry.id not in removed and (line := _line_of(entry)):
            lines.setdefault(line, []).append(entry)
    kept: list[Entry] = []
    over: list[Entry] = []
    for line, them in lines.items():
        them.sort(key=lambda e: e.ended)
        since = now - timedelta(days=max(keep.base, keep.log) if line == BASES else keep.files)
        whole = [e for e in them if all(region in _regions_of(e) for region in regions)]
        old = [e for e in whole if e.ended < since]
        stands = old[-1:] if line == BASES or len(old) == len(whole) else whole[-1:]
        for entry in them:
            is_over = bool(stands) and entry.ended < min(since, stands[0].ended) and entry.id not in held
            (over if is_over else kept).append(entry)
    return Needs(tuple(kept), tuple(over), held)


def _regions_of(entry: Entry) -> Collection[str]:
    return entry.body.snapshots if isinstance(entry.body, Base | Snapshot) else ()


BASES = ("base",)


def _line_of(entry: Entry) -> tuple[str, ...]:
    """What an entry is one of a line of; nothing for those without data of their own."""
    if isinstance(entry.body, Base):
        return BASES
    return ("files", entry.writer, entry.body.service) if isinstance(entry.body, Snapshot) else ()


def holds_in(entries: Mapping[str, Iterable[Entry]]) -> frozenset[str]:
    """Ids that are held. A hold is taken off where it was laid on: no other host's key is enough. Pure."""
    found: set[str] = set()
    for them in entries.values():
        own: dict[str, bool] = {}
        for entry in them:
            if isinstance(entry.body, Hold):
                own[entry.body.of] = entry.body.on
        found |= {name for name, on in own.items() if on}
    return frozenset(found)


def first_needed(reader: Reader, bases: Sequence[Entry]) -> int:
    """The first segment of a stream that any of the bases needs; 0 when all that is there is needed.

    The log stays in one piece: a gap in it would look like damage. So one old base that is held keeps it all.
    """
    firsts: list[int] = []
    for entry in bases:
        if isinstance(entry.body, Base):
            try:
                seq = reader.start_for(GtidSet.parse(entry.body.gtids))
                firsts.append(min(seq, reader.manifest(seq).document.head_seq))
            except BackupError:  # the stream begins after that base, or is not whole
                firsts.append(0)
    return min(firsts, default=0)
