"""What was backed up, as entries that each host signs and counts, beside the data in every region.

A repository whose newest part is gone checks clean and restores older data (restic, measured). A catalogue
that counts, in two regions and in the observer's memory, does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003  pydantic reads it
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from yiyun_backup.errors import DamageError
from yiyun_backup.signed import Document, Opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Base(Document):
    """A physical copy of a MySQL member, on which a server was started and read."""

    kind: Literal["base"] = "base"
    member: str
    source: str
    version: str
    lower_case_table_names: int
    gtids: str
    tables: int
    bytes: int
    repository: str
    snapshots: dict[str, str]
    """Region → id of the snapshot there; a copy has an id of its own."""


class Snapshot(Document):
    """Files, or the dump of a database, of one service on one host."""

    kind: Literal["snapshot"] = "snapshot"
    service: str
    way: str
    """How it was taken: `files`, `postgres`, `sqlite`, …"""
    files: int
    bytes: int
    repository: str
    snapshots: dict[str, str]


class Copied(Document):
    """A snapshot that reached another region later than its entry was written."""

    kind: Literal["copied"] = "copied"
    of: str
    region: str
    snapshot: str


class Objects(Document):
    """A bucket's copy beside its original. `lacking`: of what the original had for a while already."""

    kind: Literal["objects"] = "objects"
    service: str
    """The copy's bucket."""
    copy_of: str
    count: int
    bytes: int
    lacking: int


class Deposit(Document):
    """Bytes that were brought from outside and are kept as one object: what made them encrypted them."""

    kind: Literal["deposit"] = "deposit"
    service: str
    key: str
    sha256: str
    bytes: int
    regions: tuple[str, ...]


class TableSum(Document):
    """Rows of a table, and a checksum over all of them that no order changes."""

    schema_name: str
    name: str
    rows: int
    checksum: str


class Summed(Document):
    """What the database held at a set, read at the source: what a restore to that set is compared with."""

    kind: Literal["summed"] = "summed"
    member: str
    gtids: str
    tables: tuple[TableSum, ...]
    held_s: float
    """How long commits waited at this member while the set and the snapshot were made one."""


class Tested(Document):
    """A restore that was compared with its source, or failed to be."""

    kind: Literal["tested"] = "tested"
    of: str
    """Id of the entry whose database was restored (`summed`)."""
    region: str
    ok: bool
    seconds: float
    compared: str
    """What was compared with what, in words."""
    problem: str = ""


class ReadBack(Document):
    """A look at what a region has: catalogue and chains whole, and a share of all data read and compared."""

    kind: Literal["read-back"] = "read-back"
    region: str
    part: int
    of: int
    """Which share of the data: 3 of 7; 1 of 1 is all of it."""
    segments: int
    read_bytes: int
    """Of the log; repositories are read by restic."""
    repositories: tuple[str, ...]
    problems: tuple[str, ...] = ()


class Hold(Document):
    """A legal hold, laid on or taken off."""

    kind: Literal["hold"] = "hold"
    of: str
    on: bool
    by: str
    reason: str


class Pruned(Document):
    """Entries whose data was removed after its time was over."""

    kind: Literal["pruned"] = "pruned"
    of: tuple[str, ...]


Body = Annotated[
    Base | Snapshot | Copied | Objects | Deposit | Summed | Tested | ReadBack | Hold | Pruned,
    Field(discriminator="kind"),
]


class Entry(Document):
    """One entry. `began`, `ended`: of what it tells, by the host's clock; order comes from `seq` alone."""

    estate: str
    writer: str
    """The host that made and signed it."""
    seq: int
    prev: str
    began: datetime
    ended: datetime
    body: Body

    @property
    def id(self) -> str:
        """Its name everywhere: `db-3.17`."""
        return f"{self.writer}.{self.seq}"


def removed_in(entries: Iterable[Entry]) -> frozenset[str]:
    """Ids of entries whose data was removed. Pure."""
    return frozenset(name for entry in entries if isinstance(entry.body, Pruned) for name in entry.body.of)


def with_copies(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, each snapshot with the regions that it reached later as well. Pure."""
    late: dict[str, dict[str, str]] = {}
    for entry in entries:
        if isinstance(body := entry.body, Copied):
            late.setdefault(body.of, {})[body.region] = body.snapshot
    return [_everywhere(entry, late.get(entry.id, {})) for entry in entries]


def _everywhere(entry: Entry, late: dict[str, str]) -> Entry:
    body = entry.body
    if not late or not isinstance(body, Base | Snapshot):
        return entry
    whole = body.model_copy(update={"snapshots": {**body.snapshots, **late}})
    return entry.model_copy(update={"body": whole})


def key_of(writer: str, seq: int) -> str:
    """Name of the entry's object; names sort as their numbers do."""
    return f"catalogue/{writer}/{seq:012d}"


@dataclass(frozen=True)
class Mark:
    """How far a host's catalogue is known to have come."""

    seq: int = 0
    digest: str = ""


def follow(writer: str, entries: Iterable[Opened]) -> tuple[list[Entry], Mark]:
    """Check a host's entries, from its first. Raises DamageError with the check `catalogue`."""
    mark, found = Mark(), list[Entry]()
    for opened in entries:
        entry: Entry = opened.document
        if entry.writer != writer:
            raise DamageError("catalogue", f"{key_of(writer, mark.seq + 1)} is an entry of {entry.writer}")
        if entry.seq != mark.seq + 1:
            raise DamageError("catalogue", f"entry {mark.seq + 1} of {writer} is missing")
        if entry.prev != mark.digest:
            raise DamageError(
                "catalogue", f"entry {entry.seq} of {writer} follows another than the one before"
            )
        mark = Mark(entry.seq, opened.digest)
        found.append(entry)
    return found, mark


def must_reach(writer: str, found: Mark, known: Mark, digests: dict[int, str], where: str) -> None:
    """Compare a copy of a catalogue with how far it is known to have come. Raises DamageError.

    `digests`: number → digest of the copy's entries. `known`: from the other region, or from before.
    """
    if found.seq < known.seq:
        text = f"{where}: the catalogue of {writer} ends at {found.seq}, and was at {known.seq}"
        raise DamageError("rolled back", text, "what was stored last is gone there: use the other region")
    if known.seq and digests.get(known.seq) != known.digest:
        raise DamageError("forked", f"{where}: entry {known.seq} of {writer} is another than was seen")
