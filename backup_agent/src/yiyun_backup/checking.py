"""Whether what a region has is what was stored: asked of the region, and of what is known from elsewhere.

It needs no key that opens the log. What it finds is a list of sentences; an empty one means that nothing was
found, of what was checked: the result says how much that was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yiyun_backup import repository as restic
from yiyun_backup.catalogue import Base, Copied, Mark, Snapshot, must_reach
from yiyun_backup.chain import Chain, follow
from yiyun_backup.errors import BackupError, DamageError
from yiyun_backup.files import write_whole
from yiyun_backup.journal import read_all
from yiyun_backup.reading import BATCH, Reader, streams
from yiyun_backup.segments import key_of, sealed_of
from yiyun_backup.signed import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config
    from yiyun_backup.store import Store

DAYS = 7
"""In so many daily runs every byte is read once."""


@dataclass
class Checked:
    """What was checked, and what is wrong."""

    region: str
    entries: int = 0
    segments: int = 0
    read_bytes: int = 0
    repositories: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def found(self, error: BackupError) -> None:
        """One more problem."""
        self.problems.append(str(error))


@dataclass(frozen=True)
class Share:
    """Which part of the data is read in full today: 1 of 7, by the day; or all of it."""

    part: int
    of: int

    @classmethod
    def today(cls) -> Share:
        """The part of this day."""
        return cls(datetime.now(UTC).toordinal() % DAYS + 1, DAYS)

    def takes(self, number: int) -> bool:
        """Whether the object of that number is read."""
        return number % self.of == self.part - 1

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"


def check(config: Config, region: str, share: Share, progress: Callable[[str, float], None]) -> Checked:
    """Check a region's catalogue, chains and repositories. Raises StoreError when it cannot be asked."""
    store = config.store(region)
    checked = Checked(store.name)
    progress("catalogue", 0.0)
    entries = _catalogue(config, store, checked)
    for stream in streams(store):
        try:
            _stream(config, store, stream, share, checked, progress)
        except DamageError as error:
            checked.found(error)
    for name in sorted({b.repository for e in entries if isinstance(b := e.body, Base | Snapshot)}):
        progress(f"repository {name}", 0.0)
        try:
            _repository(config, store, name, share, entries, checked)
        except BackupError as error:
            checked.found(error)
    return checked


def _catalogue(config: Config, store: Store, checked: Checked) -> list[Entry]:
    """Every host's entries; and that none went missing since anybody saw them."""
    entries, marks, problems = read_all(store, config.keys)
    checked.problems += problems
    note = config.state / "seen.json"
    seen = _marks(note)
    for other in config.regions:
        if other.name != store.name:
            try:
                _, there, _ = read_all(config.store(other.name), config.keys)
            except BackupError as error:
                checked.problems.append(f"not compared with the other region: {error}")
                continue
            seen = _newest(seen, there)
    for writer, known in seen.items():
        digests = {e.seq: digest(e) for e in entries.get(writer, [])}
        try:
            must_reach(writer, marks.get(writer, Mark()), known, digests, store.name)
        except DamageError as error:
            checked.found(error)
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    newest = _newest(seen, marks)
    write_whole(note, json.dumps({w: [m.seq, m.digest] for w, m in newest.items()}).encode())
    checked.entries = sum(map(len, entries.values()))
    return [e for them in entries.values() for e in them]


def _newest(one: Mapping[str, Mark], two: Mapping[str, Mark]) -> dict[str, Mark]:
    writers = {*one, *two}
    return {w: max(one.get(w, Mark()), two.get(w, Mark()), key=lambda m: m.seq) for w in writers}


def _marks(note: Path) -> dict[str, Mark]:
    try:
        return {w: Mark(int(seq), str(name)) for w, (seq, name) in json.loads(note.read_bytes()).items()}
    except (OSError, ValueError):
        return {}


def _stream(
    config: Config,
    store: Store,
    stream: str,
    share: Share,
    checked: Checked,
    progress: Callable[[str, float], None],
) -> None:
    """Every manifest, and the bytes of a share of the segments."""
    reader = Reader(store, stream, config.keys)
    numbers = reader.numbers()
    chain = Chain(stream)
    for at in range(0, len(numbers), BATCH):
        batch = numbers[at : at + BATCH]
        chain = follow(stream, reader.manifests(batch), chain)
        checked.segments += len(batch)
        progress(f"stream {stream}", (at + len(batch)) / len(numbers))
        for seq in batch:
            if share.takes(seq):
                checked.read_bytes += whole(store, stream, seq, config)
    for hole in chain.holes:
        held = str(hole.gtids)[:200]
        checked.problems.append(f"{store.name}: {stream} has a hole before segment {hole.before_seq}: {held}")


def whole(store: Store, stream: str, seq: int, config: Config) -> int:
    """Read a segment in full. Returns its bytes; raises DamageError."""
    data = store.get(key_of(stream, seq))
    sealed_of(data, config.keys, f"{store.name}: segment {seq} of {stream}")
    return len(data)


def _repository(
    config: Config, store: Store, name: str, share: Share, entries: Sequence[Entry], checked: Checked
) -> None:
    """The repository as restic sees it, and that it has every snapshot which the catalogue names."""
    repository = config.repository(name, store.name)
    wanted = expected(entries, name, store.name)
    there = restic.snapshots(repository)
    for entry, snapshot in sorted(wanted.items()):
        if snapshot not in there:
            text = f"{store.name}: {name}: snapshot {snapshot[:8]} of {entry} is gone"
            checked.problems.append(text)
    restic.check(repository, str(share))
    checked.repositories.append(name)


def expected(entries: Sequence[Entry], repository: str, region: str) -> dict[str, str]:
    """Entry → snapshot that a region's repository must have, copies that came later included. Pure."""
    found: dict[str, str] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, Base | Snapshot) and body.repository == repository and region in body.snapshots:
            found[entry.id] = body.snapshots[region]
    of = {e.id for e in entries if isinstance(b := e.body, Base | Snapshot) and b.repository == repository}
    for entry in entries:
        body = entry.body
        if isinstance(body, Copied) and body.region == region and body.of in of:
            found[body.of] = body.snapshot
    return found


def fields_of(checked: Checked) -> dict[str, Any]:
    """As JSON."""
    return dict(vars(checked))
