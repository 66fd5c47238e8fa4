"""What an offline folder holds: parts by the cache's own keys, and every file with its SHA-256."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.bundle.model import LockedFile, sha256_of
from infra.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOCK = "offline.lock.json"
SIGNATURE = "offline.lock.sig"
"""Ed25519 over the bytes of the lock: 64 octets, as `openssl pkeyutl -verify -rawin` reads them."""
FORMAT = 1

Kind = Literal["hosts", "image", "program", "control"]


class Part(BaseModel):
    """One thing that has a place of its own in the caches. `key`: what it is called there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind
    name: str
    version: str
    key: str
    path: str
    """File or folder, relative to the offline folder."""


class OfflineLock(BaseModel):
    """What an offline folder holds. `signer`: the public key it says it is signed by."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1] = FORMAT
    yiyun: str
    made: str
    signer: str
    parts: tuple[Part, ...]
    files: tuple[LockedFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    def parts_of(self, kind: Kind) -> tuple[Part, ...]:
        """Parts of one kind."""
        return tuple(p for p in self.parts if p.kind == kind)

    def sha256(self, path: str) -> str:
        """Hash of a file. Raises BadInputError when the lock has no such file."""
        for file in self.files:
            if file.path == path:
                return file.sha256
        raise BadInputError(f"the lock names no file {path}", hint="build the folder anew")


def read_lock(folder: Path) -> OfflineLock:
    """The lock of an offline folder, unverified. Raises BadInputError when it cannot be read."""
    try:
        return OfflineLock.model_validate_json((folder / LOCK).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInputError(
            f"{folder} is not an offline bundle: its {LOCK} cannot be read",
            hint="yiyun bundle build --to FOLDER makes one",
            where=str(folder / LOCK),
        ) from error


def entries(folder: Path) -> dict[str, Path]:
    """Everything in the folder that is no folder, apart from lock and signature, by relative path."""
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if not stat.S_ISDIR(path.lstat().st_mode)
    }
    return {name: path for name, path in found.items() if name not in {LOCK, SIGNATURE}}


def described(folder: Path, details: Iterable[LockedFile]) -> tuple[LockedFile, ...]:
    """Every file of the folder with size and hash; `details` name the packages of some."""
    known = {file.path: file for file in details}
    return tuple(
        known.get(name, LockedFile(path=name, size=0, sha256="")).model_copy(
            update={"size": path.stat().st_size, "sha256": sha256_of(path)}
        )
        for name, path in entries(folder).items()
    )
