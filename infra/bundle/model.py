"""The bundle on disk and its lock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOCK_NAME = "bundle.lock.json"
CHUNK_BYTES = 1 << 20


class LockedFile(BaseModel):
    """One file of the bundle. `package` and `version` are those of its package manager, if it has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    """Relative to the bundle, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str
    package: str = ""
    version: str = ""
    roles: tuple[str, ...] = ()
    """Roles that need this Debian package."""


class BundleLock(BaseModel):
    """What a bundle holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    inputs: str
    """Hash of what the bundle was made from."""
    files: tuple[LockedFile, ...]

    def by_path(self) -> dict[str, LockedFile]:
        """Files by their path."""
        return {file.path: file for file in self.files}


@dataclass(frozen=True)
class Bundle:
    """A complete bundle."""

    path: Path
    lock: BundleLock

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.lock.files)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def files_below(root: Path) -> dict[str, Path]:
    """All files below `root` except the lock, by relative path."""
    return {
        path.relative_to(root).as_posix(): path
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != LOCK_NAME
    }


def read_lock(path: Path) -> BundleLock:
    """The lock of the bundle at `path`. Raises BadInputError when there is none or it cannot be read."""
    try:
        return BundleLock.model_validate_json((path / LOCK_NAME).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BadInputError(
            f"{path} is not a bundle: its {LOCK_NAME} cannot be read",
            hint="build one by `yiyun up`, or give the folder of a whole bundle",
            where=str(path / LOCK_NAME),
        ) from error


def write_lock(root: Path, inputs: str, details: Iterable[LockedFile]) -> BundleLock:
    """Write the lock of everything below `root`. `details` name the packages of some of the files."""
    known = {file.path: file for file in details}
    files = tuple(
        LockedFile(
            path=name,
            size=path.stat().st_size,
            sha256=sha256_of(path),
            package=known[name].package if name in known else "",
            version=known[name].version if name in known else "",
            roles=known[name].roles if name in known else (),
        )
        for name, path in files_below(root).items()
    )
    lock = BundleLock(inputs=inputs, files=files)
    text = json.dumps(lock.model_dump(), indent=1, sort_keys=True)
    (root / LOCK_NAME).write_text(text + "\n", encoding="utf-8")
    return lock
