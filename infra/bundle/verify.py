"""Hold a bundle to its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.bundle.model import files_below, read_lock, sha256_of

if TYPE_CHECKING:
    from pathlib import Path


def verify_bundle(path: Path) -> list[str]:
    """Problems of the bundle at `path`: files missing, altered, or not in its lock. Empty: it is whole.

    Raises BadInputError when there is no readable lock.
    """
    locked, present = read_lock(path).by_path(), files_below(path)
    problems = [f"{name}: missing" for name in sorted(locked.keys() - present.keys())]
    problems += [f"{name}: not in the lock" for name in sorted(present.keys() - locked.keys())]
    for name in sorted(locked.keys() & present.keys()):
        if sha256_of(present[name]) != locked[name].sha256:
            problems.append(f"{name}: altered (its SHA-256 is not the one in the lock)")
    return problems
