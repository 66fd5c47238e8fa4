"""A stream as a store has it: found, checked and read from there alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from yiyun_backup.chain import Chain, follow
from yiyun_backup.errors import BadInputError, DamageError
from yiyun_backup.files import write_whole
from yiyun_backup.gtids import GtidSet
from yiyun_backup.segments import Segment, key_of, log_of, manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from pyrage import x25519

    from yiyun_backup.signed import Opened
    from yiyun_backup.store import Store

AT_ONCE = 8
BATCH = 64
BEGINNING = 8192


@dataclass
class Reader:
    """Reads one stream. `folder`: where objects that were fetched stay, so that none is fetched twice."""

    store: Store
    stream: str
    keys: Mapping[str, Ed25519PublicKey]
    folder: Path | None = None
    identities: Sequence[x25519.Identity] = ()
    missing: list[str] = field(default_factory=list[str])
    broken: DamageError | None = None
    """Why nothing is read behind some segment, although there is something."""
    _names: list[int] = field(default_factory=list[int])

    def runs(self) -> list[list[int]]:
        """Numbers of the segments that are there, in order, parted where any is missing."""
        prefix = f"log/{self.stream}/"
        runs: list[list[int]] = []
        for item in self.store.list(prefix):
            name = item.key.removeprefix(prefix)
            if not name.isdecimal():
                continue
            if runs and int(name) == runs[-1][-1] + 1:
                runs[-1].append(int(name))
            else:
                runs.append([int(name)])
        return runs

    def numbers(self) -> list[int]:
        """Those from the last gap on: what comes before one leads nowhere. `missing` says what is gone."""
        runs = self.runs()
        self.missing, self.broken = self.gaps(runs), None
        while len(runs) > 1 and isinstance(error := self._read(runs[-1][:1])[0], DamageError):
            self.broken = error  # whoever may add objects may add one far beyond: nothing leads there
            runs.pop()
        self._names = runs[-1] if runs else []
        return self._names

    def gaps(self, runs: Sequence[Sequence[int]]) -> list[str]:
        """What is missing between runs, in sentences."""
        return [
            f"{self.store.name}: segment {one[-1] + 1} of {self.stream} is missing"
            for one, _ in pairwise(runs)
        ]

    def manifest(self, seq: int) -> Opened:
        """One manifest, verified. Without a folder no more than the manifest is fetched."""
        data = self._object(seq) if self.folder else self._beginning(seq)
        return manifest_of(data, self.keys, self._what(seq))[0]

    def manifests(self, numbers: Sequence[int]) -> list[Opened]:
        """Manifests of several segments, fetched several at once. Raises DamageError."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.manifest, numbers))

    def log(self, segment: Segment) -> bytes:
        """A segment's log, verified and opened."""
        return log_of(self._object(segment.seq), self.keys, self.identities, self._what(segment.seq))[1]

    def start_for(self, base: GtidSet) -> int:
        """The last segment before which the stream had passed nothing that the base lacks.

        Raises DamageError when even the first is too late: the log begins after the base.
        """
        numbers = self._names or self.numbers()
        if not numbers:
            raise BadInputError(f"{self.store.name}: nothing of the stream {self.stream} is stored")
        low, high = 0, len(numbers) - 1
        if gap := self._passed_before(numbers[0]) - base:
            text = (
                f"the log of {self.stream} begins {len(gap)} transaction(s) after the base: {str(gap)[:300]}"
            )
            why = "; ".join([*self.missing[-1:], text])
            raise DamageError("hole", why, "another stream, another region, or a newer base")
        while low < high:
            middle = (low + high + 1) // 2
            if self._passed_before(numbers[middle]) <= base:
                low = middle
            else:
                high = middle - 1
        return numbers[low]

    def chain(self, first: int, progress: Callable[[int, int], None]) -> tuple[Chain, list[Segment]]:
        """Fetch and check everything from a segment on, up to the first broken link (`broken`)."""
        wanted = [seq for seq in self._names or self.numbers() if seq >= first]
        chain, found = Chain(self.stream), list[Segment]()
        for number in range(0, len(wanted), BATCH):
            batch = wanted[number : number + BATCH]
            for one in self._read(batch):
                try:
                    if isinstance(one, DamageError):
                        raise one
                    chain = follow(self.stream, [one], chain)
                except DamageError as error:
                    self.broken = error
                    return chain, found
                found.append(one.document)
            progress(len(found), len(wanted))
        return chain, found

    def end(self) -> Segment | None:
        """The newest segment whose manifest can be read; None when none of the last ones can."""
        for seq in reversed((self._names or self.numbers())[-BATCH:]):
            with suppress(DamageError):
                return self.manifest(seq).document
        return None

    def _read(self, numbers: Sequence[int]) -> list[Opened | DamageError]:
        def one(seq: int) -> Opened | DamageError:
            try:
                return self.manifest(seq)
            except DamageError as error:
                return error

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, numbers))

    def _passed_before(self, seq: int) -> GtidSet:
        return GtidSet.parse(self.manifest(seq).document.held)

    def _beginning(self, seq: int) -> bytes:
        """Mostly the manifest and more; of one that is longer, all of it."""
        data = self.store.get(key_of(self.stream, seq), first=BEGINNING)
        return data if b"\n" in data else self.store.get(key_of(self.stream, seq))

    def _object(self, seq: int) -> bytes:
        path = self.folder and self.folder / f"{self.store.name}-{self.stream}-{seq:012d}"
        if path and path.exists():
            return path.read_bytes()
        data = self.store.get(key_of(self.stream, seq))
        if path:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, data)
        return data

    def _what(self, seq: int) -> str:
        return f"{self.store.name}: segment {seq} of {self.stream}"


def streams(store: Store) -> list[str]:
    """Streams that a region has segments of."""
    found: list[str] = []
    after = ""
    while (item := next(iter(store.list("log/", after=after)), None)) is not None:
        found.append(item.key.split("/")[1])
        after = f"log/{found[-1]}0"  # behind every name that begins with this one and a slash
    return found
