"""A host's own catalogue: entries are signed here, counted here, and stored in every region."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from yiyun_backup import signed
from yiyun_backup.catalogue import Body, Entry, Mark, ReadBack, follow, key_of, with_copies
from yiyun_backup.errors import BackupError, DamageError
from yiyun_backup.files import write_whole
from yiyun_backup.signed import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from yiyun_backup.store import Store

SUMMARY = "summary.json"
"""Beside the catalogue's folder, for whoever looks at the host: what `summary` says."""
NO_BACKUPS = frozenset({"copied", "hold"})
LONGEST_ENTRY = 1 << 20
AT_ONCE = 8


@dataclass(frozen=True)
class Journal:
    """The catalogue of one host. `folder` keeps its entries: what a store lost is seen, and sent again."""

    estate: str
    writer: str
    folder: Path
    key: Ed25519PrivateKey

    def add(
        self, body: Body, began: datetime, stores: Sequence[Store], keep: timedelta
    ) -> tuple[Entry, list[str]]:
        """Write an entry and store it in every region that answers. Returns it, and what did not answer.

        Two that wrote at once would make two histories of one host, which is what a forger does.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self.folder.with_suffix(".lock"), mode=0o600):
            if not self._entries():
                self._begin(stores)
            before, mark = self._followed()
            entry = Entry(
                estate=self.estate,
                writer=self.writer,
                seq=mark.seq + 1,
                prev=mark.digest,
                began=began,
                ended=datetime.now(UTC),
                body=body,
            )
            write_whole(self.folder / f"{entry.seq:012d}", signed.sign(entry, self.key))
            told = json.dumps(summary([*before, entry])).encode()
            write_whole(self.folder.with_name(SUMMARY), told, 0o644)
        return entry, self.send(stores, keep)

    def send(self, stores: Sequence[Store], keep: timedelta) -> list[str]:
        """Store what a region lacks. Returns what went wrong, one sentence a region."""
        problems: list[str] = []
        for store in stores:
            try:
                there = {item.key for item in store.list(f"catalogue/{self.writer}/")}
                for path in self._entries():
                    key = key_of(self.writer, int(path.name))
                    if key not in there:
                        store.put(key, path.read_bytes(), datetime.now(UTC) + keep)
            except BackupError as error:
                problems.append(str(error))
        return problems

    def mark(self) -> Mark:
        """How far the catalogue has come here. Raises DamageError when the folder lost entries."""
        return self._followed()[1]

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises DamageError when the folder lost any."""
        return self._followed()[0]

    def _followed(self) -> tuple[list[Entry], Mark]:
        public = self.key.public_key()
        keys = {signed.fingerprint(public): public}
        opened = [signed.verify(p.read_bytes(), Entry, keys, str(p)) for p in self._entries()]
        return follow(self.writer, opened)

    def _begin(self, stores: Sequence[Store]) -> None:
        """Nothing is here: the host is new, or was made anew. What was stored under its name says which.

        Raises BackupError when no store answers: a second first entry would be another history.
        """
        errors = list[BackupError]()
        for store in stores:
            try:
                self.take_up(store)
            except DamageError:
                raise
            except BackupError as error:
                errors.append(error)
        if errors and len(errors) == len(stores):
            raise errors[0]

    def take_up(self, store: Store) -> int:
        """A host that was made anew goes on where its catalogue was. Returns how many entries it got."""
        here = {path.name for path in self._entries()}
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        count = 0
        for item in store.list(f"catalogue/{self.writer}/"):
            name = item.key.rpartition("/")[2]
            if name not in here:
                write_whole(self.folder / name, store.get(item.key))
                count += 1
        self.mark()
        return count

    def _entries(self) -> list[Path]:
        if not self.folder.exists():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name.isdecimal())


def summary(entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The newest of each kind, of each service and region: saved, read back, restored, pruned last.

    And the first entry of all. Pure.
    """
    found: dict[str, dict[str, Any]] = {}
    if entries:
        found["first"] = {"id": entries[0].id, "ended_s": int(entries[0].ended.timestamp())}
    for entry in with_copies(entries):
        body = entry.body.model_dump(mode="json")
        of_what = body.get("service") or (body["region"] if isinstance(entry.body, ReadBack) else "")
        name = f"{body['kind']} {of_what}".strip()
        if name in NO_BACKUPS:
            continue
        for long in ("tables", "of") if name in {"summed", "pruned"} else ():
            body.pop(long, None)  # each table with its checksum; each entry that was removed
        found[name] = {
            "id": entry.id,
            "began": entry.began.isoformat(),
            "ended": entry.ended.isoformat(),
            "ended_s": int(entry.ended.timestamp()),
        } | body
    return found


class Found(NamedTuple):
    """What a region has of every host's catalogue: entries that verify, also where others do not."""

    entries: dict[str, list[Entry]]
    marks: dict[str, Mark]
    """How far each has come."""
    problems: list[str]
    """What is wrong, in sentences: a restore goes on with the rest, a check reports it."""

    def every(self) -> list[Entry]:
        """The entries of all hosts."""
        return [entry for them in self.entries.values() for entry in them]


def read_all(store: Store, keys_of: Callable[[str], Mapping[str, Ed25519PublicKey]]) -> Found:
    """Every host's catalogue in a region. `keys_of`: what counts as a host's signature. Raises StoreError."""
    names: dict[str, list[str]] = {}
    for item in store.list("catalogue/"):
        names.setdefault(item.key.split("/")[1], []).append(item.key)
    found = Found({}, {}, [])
    for writer, them in sorted(names.items()):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            read = list(pool.map(partial(_read, store, keys_of(writer)), them))
        sound = [one for one in read if isinstance(one, Opened)]
        found.problems.extend(one for one in read if isinstance(one, str))
        found.entries[writer] = [one.document for one in sound]
        if sound:
            found.marks[writer] = Mark(sound[-1].document.seq, sound[-1].digest)
        try:
            follow(writer, sound)
        except DamageError as error:
            found.problems.append(f"{store.name}: {error}")
    return found


def _read(store: Store, keys: Mapping[str, Ed25519PublicKey], key: str) -> Opened | str:
    """An entry under its own name; a sentence when it is none."""
    try:
        opened = signed.verify(store.get(key, first=LONGEST_ENTRY), Entry, keys, f"{store.name}: {key}")
    except DamageError as error:
        return str(error)
    entry: Entry = opened.document
    return opened if key_of(entry.writer, entry.seq) == key else f"{store.name}: {key} is {entry.id}"
