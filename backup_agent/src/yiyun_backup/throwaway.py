"""A folder that a restore is thrown away from: one user at a time, and nothing of it stays.

The lock is on the folder itself, so it leaves no file, and ends with the process however that ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yiyun_backup.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

NAME = "yiyun-once"
"""Everything in it is ours; beside it nothing is touched."""


@contextmanager
def target_in(folder: Path) -> Generator[Path]:
    """Where to restore to. What a killed run left is removed first. Raises RefusedError when it is in use."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    place = folder / NAME
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = f"{folder} is in use by another query or restore test"
            raise RefusedError(text, "wait until it has ended, or name another folder") from error
        try:
            _clear(place)
            place.mkdir(mode=0o711)
            yield place / "data"
        finally:
            _clear(place)
    finally:
        os.close(opened)


def _clear(place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
