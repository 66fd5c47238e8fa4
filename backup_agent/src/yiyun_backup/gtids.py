"""Sets of MySQL's global transaction identifiers, tags included.

A restore is right when two such sets are equal, and what is missing is their difference; both are asked where
no server runs that could be asked. Text is MySQL's own: `UUID:1-5:7:tag:1-3, UUID:…` (Reference Manual 9.x,
"GTID Format and Storage").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Interval = tuple[int, int]
"""First and last number, both within."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?")
LAST = 2**63 - 2
"""The greatest number MySQL gives."""


class GtidError(ValueError):
    """The text is no set of GTIDs."""


@dataclass(frozen=True, order=True)
class Source:
    """Who numbered a transaction: a server or group, and the tag, empty for most."""

    uuid: str
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.uuid}:{self.tag}" if self.tag else self.uuid


@dataclass(frozen=True)
class GtidSet:
    """An immutable set: source → intervals, sorted, apart from each other, none empty."""

    intervals: Mapping[Source, tuple[Interval, ...]] = field(
        default_factory=dict[Source, tuple[Interval, ...]]
    )

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """From MySQL's text; white space counts nothing. Raises GtidError."""
        found: dict[Source, list[Interval]] = {}
        for part in "".join(text.lower().split()).split(","):
            if part:
                _read(part, found)
        return cls.of(found)

    @classmethod
    def of(cls, intervals: Mapping[Source, Iterable[Interval]]) -> GtidSet:
        """From intervals in any order, overlapping or not."""
        merged = {source: _merged(list(them)) for source, them in intervals.items()}
        return cls({source: them for source, them in sorted(merged.items()) if them})

    def __str__(self) -> str:
        """MySQL's text, on one line: a server's untagged numbers first, then tag by tag."""
        parts: dict[str, str] = {}
        for source, them in sorted(self.intervals.items()):
            text = ":".join(f"{a}-{b}" if b > a else f"{a}" for a, b in them)
            if source.uuid in parts:
                parts[source.uuid] += f":{source.tag}:{text}"
            else:
                parts[source.uuid] = f"{source}:{text}"
        return ",".join(parts.values())

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __len__(self) -> int:
        """How many transactions."""
        return sum(b - a + 1 for them in self.intervals.values() for a, b in them)

    def __contains__(self, gtid: tuple[Source, int]) -> bool:
        source, number = gtid
        return any(a <= number <= b for a, b in self.intervals.get(source, ()))

    def __or__(self, other: GtidSet) -> GtidSet:
        sources = {*self.intervals, *other.intervals}
        return GtidSet.of({s: [*self.intervals.get(s, ()), *other.intervals.get(s, ())] for s in sources})

    def __sub__(self, other: GtidSet) -> GtidSet:
        return GtidSet.of(
            {s: _without(them, other.intervals.get(s, ())) for s, them in self.intervals.items()}
        )

    def __and__(self, other: GtidSet) -> GtidSet:
        return self - (self - other)

    def __le__(self, other: GtidSet) -> bool:
        """Whether the other holds everything in this."""
        return not self - other


class Gathered:
    """A set that grows one transaction at a time, mostly in order: what a log's reader keeps."""

    def __init__(self, start: GtidSet | None = None) -> None:
        self._intervals = {s: list(them) for s, them in (start or GtidSet()).intervals.items()}

    def add(self, source: Source, number: int) -> None:
        """Add a transaction."""
        them = self._intervals.setdefault(source, [])
        if them and them[-1][1] + 1 == number:
            them[-1] = (them[-1][0], number)
        else:
            them.append((number, number))
            if len(them) > 1 and number <= them[-2][1]:
                self._intervals[source] = list(_merged(them))

    def frozen(self) -> GtidSet:
        """The set as it is now."""
        return GtidSet.of(self._intervals)


def _read(part: str, found: dict[Source, list[Interval]]) -> None:
    """One server's part: `UUID:1-5:7:tag:1-3`."""
    uuid, *rest = part.split(":")
    if not _UUID.fullmatch(uuid) or not rest:
        raise GtidError(f"no GTIDs: {part[:80]!r}")
    source = Source(uuid)
    for piece in rest:
        if number := _INTERVAL.fullmatch(piece):
            first, last = int(number[1]), int(number[2] or number[1])
            if not 1 <= first <= last <= LAST:
                raise GtidError(f"no interval: {piece!r} of {source}")
            found.setdefault(source, []).append((first, last))
        elif _TAG.fullmatch(piece):
            source = Source(uuid, piece)
        else:
            raise GtidError(f"neither a number nor a tag: {piece[:80]!r} of {source}")


def _merged(them: list[Interval]) -> tuple[Interval, ...]:
    out: list[Interval] = []
    for first, last in sorted(them):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out)


def _without(them: Iterable[Interval], holes: tuple[Interval, ...]) -> Iterator[Interval]:
    """Both sorted, and apart."""
    position = 0
    for begin, last in them:
        first = begin
        while position < len(holes) and holes[position][1] < first:
            position += 1
        at = position
        while at < len(holes) and holes[at][0] <= last:
            if holes[at][0] > first:
                yield first, holes[at][0] - 1
            first = holes[at][1] + 1
            at += 1
        if first <= last:
            yield first, last
