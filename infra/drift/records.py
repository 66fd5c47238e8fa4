"""What a good converge left behind, one private file a host: hashes and names, never contents."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.trust.store import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from infra.drift.compare import State
    from infra.drift.manifest import Manifest
    from infra.paths import EstatePaths


@dataclass
class HostRecord:
    """A host as the last good converge left it."""

    inputs: dict[str, str] = field(default_factory=dict[str, str])
    """Part → hash of the inputs it last ran well with."""
    names: Manifest = field(default_factory=dict[str, frozenset[str]])
    """Part → words its tasks used: what it is answerable for."""
    running: list[str] = field(default_factory=list[str])
    """Parts that were started and whose end is not noted: what they made is not recorded yet."""
    state: State = field(default_factory=dict[str, dict[str, dict[str, str]]])
    recorded: str = ""
    """When the state was recorded (RFC 3339)."""


def read_record(paths: EstatePaths, host: str) -> HostRecord:
    """The record of a host; an empty one when nothing was recorded."""
    path = _path(paths, host)
    if not path.exists():
        return HostRecord()
    data = json.loads(path.read_text(encoding="utf-8"))
    names = {part: frozenset(words) for part, words in data.pop("names").items()}
    return HostRecord(names=names, **data)


def write_record(paths: EstatePaths, host: str, record: HostRecord) -> None:
    """Keep the record of a host, readable by its owner only."""
    data = {**vars(record), "names": {part: sorted(words) for part, words in record.names.items()}}
    write_private(_path(paths, host), json.dumps(data, sort_keys=True).encode())


def forget_record(paths: EstatePaths, host: str) -> None:
    """Forget a host, for example one that was made anew."""
    _path(paths, host).unlink(missing_ok=True)


def _path(paths: EstatePaths, host: str) -> Path:
    return paths.desired / f"{host}.json"
