"""Drivers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.driver import LabDriver
from infra.errors import BadInputError

if TYPE_CHECKING:
    from infra.drivers.base import Actual, Driver, Failure
    from infra.paths import EstatePaths
    from infra.resources import Inputs


def driver_named(name: str, paths: EstatePaths) -> Driver:
    """The driver an estate's `provider` names. Raises BadInputError when this version has none."""
    if name == "lab":
        return LabDriver(paths.records)
    if name == "jdcloud":
        raise BadInputError(
            "provider jdcloud is not available yet: this version makes resources in the lab only",
            hint="use an estate whose provider is lab; `yiyun preview` works for it already",
        )
    raise BadInputError(f"no provider named {name}", hint="use lab")


def driver_for_preview(name: str, paths: EstatePaths) -> Driver:
    """The driver, or for a provider that has none yet one that can only be planned for."""
    return PlanOnlyDriver(name) if name == "jdcloud" else driver_named(name, paths)


class PlanOnlyDriver:
    """Stands for a provider without a driver: plans can be made for it, and nothing else."""

    def __init__(self, name: str) -> None:
        self._name = name

    def check(self, kind: str, inputs: Inputs) -> list[Failure]:  # noqa: ARG002
        """Nothing is known of what the provider would refuse."""
        return []

    def find(self, kind: str, name: str) -> Actual | None:  # noqa: ARG002
        """Nothing can be looked up."""
        return None

    def create(self, kind: str, inputs: Inputs) -> Actual:
        """Raises BadInputError."""
        raise self._unavailable(f"create {kind} {inputs.name}")

    def read(self, kind: str, identifier: str) -> Actual | None:
        """Raises BadInputError."""
        raise self._unavailable(f"read {kind} {identifier}")

    def update(self, kind: str, identifier: str, inputs: Inputs) -> Actual:  # noqa: ARG002
        """Raises BadInputError."""
        raise self._unavailable(f"update {kind} {inputs.name}")

    def delete(self, kind: str, identifier: str) -> None:
        """Raises BadInputError."""
        raise self._unavailable(f"delete {kind} {identifier}")

    def _unavailable(self, what: str) -> BadInputError:
        return BadInputError(f"cannot {what}: provider {self._name} is not available yet", hint="use lab")
