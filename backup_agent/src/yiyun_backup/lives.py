"""A host that was made anew has its predecessor's name, and none of its memory.

What it stored before goes on being there: its catalogue is taken up where it ended (`journal`), its stream
is not. The predecessor may have stored transactions that nobody has any more, so the new life's stream has a
name of its own: `db-1`, then `db-1~2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yiyun_backup.errors import BackupError
from yiyun_backup.files import write_whole
from yiyun_backup.reading import streams

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from yiyun_backup.config import Config

MARK = "~"


def host_of(stream: str) -> str:
    """Whose stream it is, and whose key signs it. Pure."""
    return stream.partition(MARK)[0]


def next_name(host: str, there: Iterable[str]) -> str:
    """Name of the stream of a life that begins, by the streams that are there. Pure."""
    lives = [int(name.partition(MARK)[2] or 1) for name in there if host_of(name) == host]
    return f"{host}{MARK}{max(lives) + 1}" if lives else host


def stream_name(config: Config) -> str:
    """Name of this life's stream: decided once, when nothing of it is here, by what the stores have.

    Raises BackupError when no store says what is there: then it cannot be decided.
    """
    note = _note(config)
    if note.exists():
        return note.read_text(encoding="ascii").strip()
    if (config.state / "outbox" / "head.json").exists():
        return config.host
    there, errors = set[str](), list[BackupError]()
    for store in config.stores():
        try:
            there |= set(streams(store))
        except BackupError as error:
            errors.append(error)
    if len(errors) == len(config.regions):
        raise errors[0]
    name = next_name(config.host, there)
    config.state.mkdir(parents=True, exist_ok=True)
    write_whole(note, name.encode())
    return name


def _note(config: Config) -> Path:
    return config.state / "stream-name"
