"""The lab's records: what the engine wants to exist, one JSON file a resource, written atomically."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, TypeVar

from infra.resources import KINDS, Inputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KindT = TypeVar("KindT", bound=Inputs)


class Records:
    """Records under `root`: `KIND/NAME.json`, each holding the inputs of one resource."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, name: str) -> Path:
        """File of one record."""
        return self.root / kind / f"{name}.json"

    def write(self, kind: str, inputs: Inputs) -> None:
        """Write or replace a record; it is whole on disk when this returns."""
        path = self.path(kind, inputs.name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(inputs.model_dump(), stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)

    def read(self, kind: str, name: str) -> Inputs | None:
        """The record's inputs, or None when there is no such record."""
        path = self.path(kind, name)
        if not path.exists():
            return None
        return KINDS[kind].model_validate_json(path.read_text(encoding="utf-8"))

    def delete(self, kind: str, name: str) -> None:
        """Forget a record. Deleting what is not there is fine."""
        self.path(kind, name).unlink(missing_ok=True)

    def all(self, kind: type[KindT]) -> Iterator[KindT]:
        """All records of one kind, by name."""
        for path in sorted((self.root / kind.__name__).glob("*.json")):
            yield kind.model_validate_json(path.read_text(encoding="utf-8"))
