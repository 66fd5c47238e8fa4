"""Whether what a region has is what was stored: asked of the region, and of what is known from elsewhere.

It needs no key that opens the log. What it finds is a list of sentences; an empty one means that nothing was
found, of what was checked: the result says how much that was.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from yiyun_backup import deposits
from yiyun_backup import repository as restic
from yiyun_backup.bases import bases_in
from yiyun_backup.catalogue import Base, Mark, ReadBack, Snapshot, must_reach, removed_in, with_copies
from yiyun_backup.checked import Checked
from yiyun_backup.checking_log import check_log, no_log_from
from yiyun_backup.config import BASES
from yiyun_backup.errors import BackupError, DamageError
from yiyun_backup.files import write_whole
from yiyun_backup.journal import read_all
from yiyun_backup.signed import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.checked import Share
    from yiyun_backup.config import Config
    from yiyun_backup.journal import Found
    from yiyun_backup.store import Store

SEEN = "seen.json"


def check(
    config: Config, region: str, share: Share, progress: Callable[[str, float], None], *, own: bool = False
) -> Checked:
    """Check a region's catalogue, chains and repositories. Raises StoreError when it cannot be asked.

    `own`: only the repository of this host's files. Others are `elsewhere`: each host has the password
    of its own.
    """
    store = config.store(region)
    checked = Checked(store.name)
    progress("catalogue", 0.0)
    entries = _catalogue(config, store, checked)
    if not own:
        checked.problems += deposits.damaged(store, entries)
        check_log(config, store, share, checked, progress)
        checked.problems += no_log_from(store, bases_in(entries), config.keys_of)
    here = {config.host} if own or config.mysql_password is None else {config.host, BASES}
    for name in sorted({b.repository for e in entries if isinstance(b := e.body, Base | Snapshot)}):
        if name not in here:
            checked.elsewhere.append(name)
            continue
        progress(f"repository {name}", 0.0)
        try:
            _repository(config, store, name, share, entries, checked)
        except BackupError as error:
            checked.found(error)
    return checked


def note(config: Config, share: Share, checked: Checked, began: datetime) -> list[str]:
    """Write into the catalogue what was looked at. Returns what went wrong with that, in sentences."""
    body = ReadBack(
        region=checked.region,
        part=share.part,
        of=share.of,
        segments=checked.segments,
        read_bytes=checked.read_bytes,
        repositories=tuple(checked.repositories),
        problems=tuple(problem[:500] for problem in checked.problems[:20]),
    )
    keep = timedelta(days=config.keep.catalogue)
    return config.journal.add(body, began, config.stores(), keep)[1]


def _catalogue(config: Config, store: Store, checked: Checked) -> list[Entry]:
    """Every host's entries; and that none went missing since anybody saw them.

    What was seen since is no measure for a store as it was then, and what it was then no news.
    """
    found = read_all(store, config.keys_of)
    checked.problems += found.problems
    seen = {} if config.as_of else seen_marks(config)
    for other in config.regions:
        if other.name != store.name:
            try:
                there = read_all(config.store(other.name), config.keys_of).marks
            except BackupError as error:
                checked.problems.append(f"not compared with the other region: {error}")
                continue
            seen = newest(seen, there)
    for error in short_of(seen, found, store.name):
        checked.found(error)
    if not config.as_of:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = {writer: [mark.seq, mark.digest] for writer, mark in newest(seen, found.marks).items()}
        write_whole(config.state / SEEN, json.dumps(known).encode())
    checked.entries = sum(map(len, found.entries.values()))
    return found.every()


def short_of(known: Mapping[str, Mark], found: Found, where: str) -> Iterator[DamageError]:
    """Each host's catalogue that has not come as far as is known, or has another history."""
    for writer, mark in known.items():
        digests = {e.seq: digest(e) for e in found.entries.get(writer, ())}
        try:
            must_reach(writer, found.marks.get(writer, Mark()), mark, digests, where)
        except DamageError as error:
            yield error


def newest(one: Mapping[str, Mark], two: Mapping[str, Mark]) -> dict[str, Mark]:
    """Of each host the mark that is further. Pure."""
    writers = {*one, *two}
    return {w: max(one.get(w, Mark()), two.get(w, Mark()), key=lambda m: m.seq) for w in writers}


def seen_marks(config: Config) -> dict[str, Mark]:
    """How far each host's catalogue had come when it was checked here last."""
    try:
        told = json.loads((config.state / SEEN).read_bytes())
        return {writer: Mark(int(seq), str(name)) for writer, (seq, name) in told.items()}
    except (OSError, ValueError):
        return {}


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
    if restic.check(repository, str(share)):
        text = (
            "it has files that no index names, as a backup that was killed leaves them: pruning removes them"
        )
        checked.notes.append(f"{store.name}: {name}: {text}")
    checked.repositories.append(name)


def expected(entries: Sequence[Entry], repository: str, region: str) -> dict[str, str]:
    """Entry → snapshot that a region's repository must have: later copies too, what was pruned not. Pure."""
    removed = removed_in(entries)
    return {
        entry.id: body.snapshots[region]
        for entry in with_copies(entries)
        if isinstance(body := entry.body, Base | Snapshot)
        if body.repository == repository and region in body.snapshots and entry.id not in removed
    }


def fields_of(checked: Checked) -> dict[str, Any]:
    """As JSON."""
    return dict(vars(checked))
