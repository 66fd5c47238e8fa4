"""A copy of a region as files, and ways to damage it: by accident, or by somebody who may write there."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server_kit import program, towards
from store_kit import BUCKET

from yiyun_backup import signed
from yiyun_backup.catalogue import Entry, key_of
from yiyun_backup.config import Config
from yiyun_backup.segments import manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from server_kit import Bed

HOUR_US = 3_600_000_000
Blobs = dict[tuple[str, str], tuple[str, int, int]]
"""(kind, id) of a blob that a snapshot needs → its pack, where it begins there, and how long it is."""


@dataclass
class Place:
    """A copy of a region: its folder, the bed it was copied from, and what each base's snapshot needs."""

    folder: Path
    bed: Bed
    needs: list[Blobs]

    @property
    def objects(self) -> Path:
        return self.folder / "objects" / BUCKET

    def files(self, pattern: str) -> list[Path]:
        """Largest first."""
        found = [p for p in self.objects.glob(pattern) if p.is_file()]
        assert found, pattern
        return sorted(found, key=lambda p: -p.stat().st_size)

    def packs(self) -> list[Path]:
        return self.files("restic/mysql/data/*/*")

    def segments(self) -> list[Path]:
        return sorted(self.files("log/db-1/*"))

    def entries(self) -> list[Path]:
        return sorted(self.files("catalogue/db-1/*"))

    def snapshot(self, number: int) -> Path:
        name = self.bed.bases[number]["body"]["snapshots"]["far"]
        return self.objects / "restic/mysql/snapshots" / name

    def entry(self, number: int) -> Path:
        """Of a base, in the catalogue."""
        return self.objects / key_of(*_split(self.bed.bases[number]["id"]))

    def flip(self, kind: str, *, of: int, both: bool) -> None:
        """A byte in the middle of such a blob."""
        pack, begins, size = self.largest(kind, of=of, both=both)
        flip(pack, begins + size // 2)

    def largest(self, kind: str, *, of: int, both: bool) -> tuple[Path, int, int]:
        """The largest blob that a base needs, alone or as the other one does: pack, beginning, length."""
        mine, other = self.needs[of], self.needs[1 - of]
        found = [at for blob, at in mine.items() if blob[0] == kind and (blob in other) == both]
        pack, begins, size = max(found, key=lambda at: at[2])
        return self.objects / "restic/mysql/data" / pack[:2] / pack, begins, size

    def key(self) -> Ed25519PrivateKey:
        return Config.read(self.bed.agent.folder / "backup.toml").key


def _split(name: str) -> tuple[str, int]:
    writer, _, seq = name.rpartition(".")
    return writer, int(seq)


def flip(path: Path, at: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    rewrite(path, bytes(data))


def rewrite(path: Path, data: bytes) -> None:
    """In place: the store keeps what it knows of a file beside it, in its attributes."""
    with path.open("r+b") as opened:
        opened.write(data)
        opened.truncate(len(data))


def swap(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    rewrite(one, second)
    rewrite(two, first)


def cut_tail(path: Path) -> None:
    rewrite(path, path.read_bytes()[:-100])


def gone(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def rolled_back(place: Place) -> None:
    """To before the second base: its snapshot and its entry are gone."""
    gone(place.snapshot(1), *(path for path in place.entries() if path >= place.entry(1)))


def replay_segment(place: Place) -> None:
    """The newest one but two once more, as the next."""
    newest = place.segments()[-1]
    shutil.copy2(place.segments()[-3], newest.with_name(f"{int(newest.name) + 1:012d}"))


def plant_segment(place: Place) -> None:
    """Bytes of nobody, under a number far beyond."""
    newest = place.segments()[-1]
    shutil.copy2(newest, planted := newest.with_name("999999999999"))
    rewrite(planted, b"nothing\n" * 1000)


def sign_segment_anew(place: Place) -> None:
    """The newest one with its own manifest, signed by a key that nobody here trusts."""
    resign(place.segments()[-1], place.key(), signed.new_key())


def another_streams(place: Place) -> None:
    """Segments of one stream as those of another one, which the restore comes to first."""
    shutil.copytree(place.objects / "log/db-1", place.objects / "log/db-0", copy_function=shutil.copy2)


def in_another_stream(place: Place) -> None:
    """As `another_streams`, but the other stream's host is trusted too, and signed them."""
    another_streams(place)
    for path in (place.objects / "log/db-0").iterdir():
        resign(path, place.key(), place.bed.agent.other_key)


def dead_stream(place: Place) -> None:
    """Another host's stream, whole and rightly signed, that ended an hour before this one."""
    another_streams(place)
    own, prev = place.key().public_key(), ""
    *paths, one, two = sorted((place.objects / "log/db-0").iterdir())
    gone(one, two)
    for path in paths:
        data = path.read_bytes()
        opened, start = manifest_of(data, {signed.fingerprint(own): own}, "it")
        changes = {"stream": "db-0", "prev": prev, "last_us": str(int(opened.document.last_us) - HOUR_US)}
        manifest = opened.document.model_copy(update=changes)
        rewrite(path, signed.sign(manifest, place.bed.agent.other_key) + b"\n" + data[start:])
        prev = signed.digest(manifest)


def resign(path: Path, key: Ed25519PrivateKey, other: Ed25519PrivateKey) -> None:
    data, public = path.read_bytes(), key.public_key()
    opened, start = manifest_of(data, {signed.fingerprint(public): public}, "it")
    rewrite(path, signed.sign(opened.document, other) + b"\n" + data[start:])


def replay_entry(place: Place) -> None:
    """The first entry once more, as the next."""
    first, *_, last = place.entries()
    shutil.copy2(first, last.with_name(f"{int(last.name) + 1:012d}"))


def rewrite_entry(place: Place, changes: Mapping[str, Any], key: Ed25519PrivateKey | None = None) -> None:
    """The newest base's entry with another body, signed: by the host's own key when none is given."""
    change_entry(place, lambda entry: {"body": entry.body.model_copy(update=changes)}, key)


def change_entry(
    place: Place, change: Callable[[Entry], Mapping[str, Any]], key: Ed25519PrivateKey | None = None
) -> None:
    own, path = place.key(), place.entry(1)
    public = own.public_key()
    entry: Entry = signed.verify(
        path.read_bytes(), Entry, {signed.fingerprint(public): public}, "it"
    ).document
    rewrite(path, signed.sign(entry.model_copy(update=change(entry)), key or own))


def other_snapshot(place: Place) -> None:
    """The newest base's entry names the snapshot of the one before; it was signed by the host's own key."""
    rewrite_entry(place, {"snapshots": place.bed.bases[0]["body"]["snapshots"]})


def other_version(place: Place) -> None:
    """As a server would find that is not the base's."""
    rewrite_entry(place, {"version": "8.0.1"})


def needs_of(bed: Bed) -> list[Blobs]:
    """What each base's snapshot needs, as restic itself tells of the far region."""
    config = Config.read(bed.agent.folder / "backup.toml")
    environment = {**bed.agent.environment(), **towards(config.repository("mysql", "far"))}

    def asked(*words: str) -> Any:
        argv = [program("RESTIC"), "--no-cache", "--no-lock", *words]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    listed = subprocess.run(
        [program("RESTIC"), "--no-cache", "--no-lock", "list", "index"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    where: Blobs = {}
    for name in listed.stdout.split():
        for pack in asked("cat", "index", name)["packs"]:
            for blob in pack["blobs"]:
                where[blob["type"], blob["id"]] = (pack["id"], blob["offset"], blob["length"])

    def walk(tree: str) -> set[tuple[str, str]]:
        found = {("tree", tree)}
        for node in asked("cat", "blob", tree)["nodes"]:
            found |= {("data", blob) for blob in node.get("content") or ()}
            if node.get("subtree"):
                found |= walk(node["subtree"])
        return found

    roots = [asked("cat", "snapshot", base["body"]["snapshots"]["far"])["tree"] for base in bed.bases]
    return [{blob: where[blob] for blob in walk(root)} for root in roots]


def page_of_zeros(path: Path, begins: int = 0, size: int = 0) -> None:
    """As a disk leaves it that lost its power: the size is right, 4 KiB of this part were never written."""
    data = path.read_bytes()
    size = size or len(data)
    page, middle = min(4096, size // 4), begins + size // 2
    rewrite(path, data[:middle] + bytes(page) + data[middle + page :])


def text_mode(*paths: Path) -> None:
    """As a tool copies that takes everything for text: each line feed gets a carriage return."""
    for path in paths:
        rewrite(path, path.read_bytes().replace(b"\n", b"\r\n"))


def twice(path: Path) -> None:
    """As an upload leaves it that was repeated into the same object: the whole of it once more behind it."""
    rewrite(path, path.read_bytes() * 2)


def stray_pack(place: Place) -> None:
    """A pack that no index names, as a killed backup leaves it."""
    pack = place.packs()[-1]
    name = hashlib.sha256(data := pack.read_bytes()[::-1]).hexdigest()
    folder = place.objects / "restic/mysql/data" / name[:2]
    folder.mkdir(exist_ok=True)
    shutil.copy2(pack, folder / name)
    rewrite(folder / name, data)
