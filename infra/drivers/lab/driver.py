"""The lab's driver: a resource is a durable record; `realise` makes the machine agree with the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.base import Actual, Failure
from infra.drivers.lab.records import Records

if TYPE_CHECKING:
    from pathlib import Path

    from infra.resources import Inputs

MAKEABLE_IMAGES = frozenset({"debian-13"})
"""Operating systems the lab can build."""


class LabDriver:
    """Records under `root`. A resource's identifier is its name, which is unique for its kind."""

    def __init__(self, root: Path) -> None:
        self._records = Records(root)

    def check(self, kind: str, inputs: Inputs) -> list[Failure]:
        """A host's image must be one the lab can build."""
        image = getattr(inputs, "image", None)
        if kind == "Host" and image not in MAKEABLE_IMAGES:
            known = ", ".join(sorted(MAKEABLE_IMAGES))
            return [Failure("image", f"the lab cannot build {image}; it can build {known}")]
        return []

    def find(self, kind: str, name: str) -> Actual | None:
        """The record of that name."""
        inputs = self._records.read(kind, name)
        return None if inputs is None else Actual(name, inputs)

    def create(self, kind: str, inputs: Inputs) -> Actual:
        """Write a record."""
        self._records.write(kind, inputs)
        return Actual(inputs.name, inputs)

    def read(self, kind: str, identifier: str) -> Actual | None:
        """The record of that identifier."""
        return self.find(kind, identifier)

    def update(self, kind: str, identifier: str, inputs: Inputs) -> Actual:  # noqa: ARG002  identifier is the name
        """Replace a record."""
        return self.create(kind, inputs)

    def delete(self, kind: str, identifier: str) -> None:
        """Forget a record."""
        self._records.delete(kind, identifier)
