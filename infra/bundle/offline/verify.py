"""Hold an offline folder to its signature and its lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.bundle.model import sha256_of
from infra.bundle.offline.model import OfflineLock, entries
from infra.bundle.offline.signing import signed_lock, trusted_keys
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Verified:
    """A folder whose lock is signed by a trusted key. `problems`: files that differ from the lock."""

    lock: OfflineLock
    key: str
    problems: tuple[str, ...]


def verify_folder(folder: Path, given_key: str, progress: Callable[[str], None]) -> Verified:
    """Check signature, then every file.

    `given_key`: the only key to trust, or empty for those trusted here. Raises RefusedError for a signature
    that is missing, does not fit or is by another key, BadInputError when there is no lock.
    """
    key, lock = signed_lock(folder, trusted_keys(given_key))
    return Verified(lock, key, tuple(_problems(folder, lock, progress)))


def require_whole(folder: Path, given_key: str, progress: Callable[[str], None]) -> Verified:
    """As `verify_folder`. Raises YiyunError naming the files that differ, too."""
    verified = verify_folder(folder, given_key, progress)
    if verified.problems:
        more = f", and {len(verified.problems) - 3} more" if len(verified.problems) > 3 else ""
        raise YiyunError(
            f"{folder}: {'; '.join(verified.problems[:3])}{more}",
            hint="get the folder again from where it was built",
        )
    return verified


def _problems(folder: Path, lock: OfflineLock, progress: Callable[[str], None]) -> list[str]:
    locked, present = {f.path: f for f in lock.files}, entries(folder)
    problems = [f"{name}: missing" for name in sorted(locked.keys() - present.keys())]
    problems += [f"{name}: not in the lock" for name in sorted(present.keys() - locked.keys())]
    for name in sorted(locked.keys() & present.keys()):
        progress(f"checking {name}")
        if present[name].is_symlink():
            problems.append(f"{name}: altered (a link in place of the file)")
        elif sha256_of(present[name]) != locked[name].sha256:
            problems.append(f"{name}: altered (its SHA-256 is not the one in the lock)")
    return problems
