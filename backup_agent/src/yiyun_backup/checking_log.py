"""Whether a region's log is whole: every link of each chain, the bytes of a share of it, and its newest end.

A chain whose end was cut off is a chain still. What was seen here before, and what another region has, tells.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from yiyun_backup.catalogue import Base, Mark
from yiyun_backup.chain import Chain, follow
from yiyun_backup.errors import BackupError, BadInputError, DamageError
from yiyun_backup.files import write_whole
from yiyun_backup.gtids import GtidSet
from yiyun_backup.reading import BATCH, Reader, streams
from yiyun_backup.segments import key_of, sealed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.checked import Checked, Share
    from yiyun_backup.config import Config
    from yiyun_backup.store import Store

LATE = timedelta(minutes=5)
"""A region may be so far behind another one."""


def check_log(
    config: Config, store: Store, share: Share, checked: Checked, progress: Callable[[str, float], None]
) -> None:
    """Every stream of a region, also one of which it has nothing. Raises StoreError."""
    note = config.state / "seen-log.json"
    seen = {} if config.as_of else read_marks(note, store.name)
    others = [config.store(other.name) for other in config.regions if other.name != store.name]
    names = set(streams(store)) | seen.keys()
    for other in others:
        try:
            names |= set(streams(other))
        except BackupError as error:
            checked.found(error)
    for stream in sorted(names):
        reader = Reader(store, stream, config.keys_of(stream))
        known = seen.get(stream, Mark())
        try:
            chain = _follow(reader, share, checked, progress)
            checked.problems += _shorter(reader, chain, known)
            checked.problems += _behind(store, stream, chain.last, others)
            seen[stream] = max(known, Mark(chain.last, chain.digest), key=lambda mark: mark.seq)
        except DamageError as error:
            checked.found(error)
    if not config.as_of:
        write_marks(note, store.name, seen)


def _follow(reader: Reader, share: Share, checked: Checked, progress: Callable[[str, float], None]) -> Chain:
    """Every manifest, and the bytes of a share of the segments. Raises DamageError at a broken link."""
    runs, chain, stream = reader.runs(), Chain(reader.stream), reader.stream
    checked.problems += reader.gaps(runs)
    for run in runs:
        chain = Chain(stream)
        for at in range(0, len(run), BATCH):
            batch = run[at : at + BATCH]
            for seq in batch:
                if share.takes(seq):
                    _whole(reader, seq, checked)
            chain = follow(stream, reader.manifests(batch), chain)
            checked.segments += len(batch)
            progress(f"stream {stream}", (at + len(batch)) / len(run))
        for hole in chain.holes:
            text = f"{stream} has a hole before segment {hole.before_seq}: {str(hole.gtids)[:200]}"
            checked.problems.append(f"{reader.store.name}: {text}")
    return chain


def _whole(reader: Reader, seq: int, checked: Checked) -> None:
    """Read a segment in full."""
    what = f"{reader.store.name}: segment {seq} of {reader.stream}"
    try:
        data = reader.store.get(key_of(reader.stream, seq))
        sealed_of(data, reader.keys, what)
        checked.read_bytes += len(data)
    except DamageError as error:
        checked.found(error)


def _shorter(reader: Reader, chain: Chain, known: Mark) -> Iterator[str]:
    """Whether the end that was seen here is gone, or is another one."""
    where = f"{reader.store.name}: the log of {reader.stream}"
    if chain.last < known.seq:
        yield f"{where} ends at segment {chain.last}, and was at {known.seq}"
    elif known.seq and chain.first <= known.seq and reader.manifest(known.seq).digest != known.digest:
        yield f"{where}: segment {known.seq} is another than was seen"


def _behind(store: Store, stream: str, newest: int, others: Sequence[Store]) -> Iterator[str]:
    """Whether another region has had for a while what this one lacks at the end."""
    since = datetime.now(UTC) - LATE
    for other in others:
        try:
            more = list(other.list(f"log/{stream}/", after=key_of(stream, newest)))
        except BackupError as error:
            yield f"not compared with the other region: {error}"
            continue
        if late := [item for item in more if item.modified < since]:
            text = f"the log of {stream} ends at segment {newest}"
            yield f"{store.name}: {text}, {other.name} has {len(late)} more of before {since:%H:%M:%S} UTC"


def no_log_from(
    store: Store, bases: Sequence[Entry], keys_of: Callable[[str], Mapping[str, Ed25519PublicKey]]
) -> Iterator[str]:
    """Whether the region's newest base leads nowhere: every stream there begins after it.

    What is missing at the front of a log looks like what was pruned. A region without any log says nothing.
    """
    newest = next((e for e in bases if isinstance(e.body, Base) and store.name in e.body.snapshots), None)
    if newest is None or not isinstance(newest.body, Base):
        return
    holes, held = list[DamageError](), GtidSet.parse(newest.body.gtids)
    for stream in streams(store):
        try:
            Reader(store, stream, keys_of(stream)).start_for(held)
            return
        except (DamageError, BadInputError) as error:
            holes += [error] if isinstance(error, DamageError) and error.check == "hole" else []
    for hole in holes:
        yield f"{store.name}: no log goes on from the newest base {newest.id}: {hole}"


def read_marks(note: Path, region: str) -> dict[str, Mark]:
    """How far each was seen to have come in a region; nothing when no note is there."""
    return {name: Mark(int(seq), str(text)) for name, (seq, text) in _read(note).get(region, {}).items()}


def write_marks(note: Path, region: str, marks: dict[str, Mark]) -> None:
    """Note it for the next check."""
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    whole = _read(note) | {region: {name: [mark.seq, mark.digest] for name, mark in marks.items()}}
    write_whole(note, json.dumps(whole).encode())


def _read(note: Path) -> dict[str, dict[str, tuple[int, str]]]:
    try:
        return dict(json.loads(note.read_bytes()))
    except (OSError, ValueError):
        return {}
