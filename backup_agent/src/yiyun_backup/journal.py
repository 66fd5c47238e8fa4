"""A host's own catalogue: entries are signed here, counted here, and stored in every region."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yiyun_backup import signed
from yiyun_backup.catalogue import Body, Entry, Mark, follow, key_of
from yiyun_backup.errors import BackupError, DamageError
from yiyun_backup.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from yiyun_backup.store import Store

LONGEST_ENTRY = 1 << 20


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
        """Write an entry and store it in every region that answers. Returns it, and what did not answer."""
        mark = self.mark()
        now = datetime.now(UTC)
        entry = Entry(
            estate=self.estate,
            writer=self.writer,
            seq=mark.seq + 1,
            prev=mark.digest,
            began=began,
            ended=now,
            body=body,
        )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(self.folder / f"{entry.seq:012d}", signed.sign(entry, self.key))
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


def read_all(
    store: Store, keys: Mapping[str, Ed25519PublicKey]
) -> tuple[dict[str, list[Entry]], dict[str, Mark], list[str]]:
    """Every host's catalogue in a region: entries, how far each has come, and what is wrong, in sentences."""
    names: dict[str, list[str]] = {}
    for item in store.list("catalogue/"):
        names.setdefault(item.key.split("/")[1], []).append(item.key)
    entries: dict[str, list[Entry]] = {}
    marks: dict[str, Mark] = {}
    problems: list[str] = []
    for writer, them in sorted(names.items()):
        try:
            opened = [
                signed.verify(store.get(key, first=LONGEST_ENTRY), Entry, keys, f"{store.name}: {key}")
                for key in them
            ]
            entries[writer], marks[writer] = follow(writer, opened)
        except DamageError as error:
            problems.append(str(error))
    return entries, marks, problems
