"""What every driver can do: look up, make, change and remove resources of the kinds in `infra.resources`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from infra.resources import Inputs


@dataclass(frozen=True)
class Failure:
    """One input a driver cannot accept."""

    property: str
    reason: str


@dataclass(frozen=True)
class Actual:
    """A resource as the driver finds it: the driver's own identifier, and inputs that would make it so."""

    id: str
    inputs: Inputs


class Driver(Protocol):
    """A way to make resources real. Calls block; the provider runs them in threads of their own.

    Every call may be repeated: a run can be killed between an effect and its record in the engine's
    state. Errors are `infra.errors.YiyunError`.
    """

    def check(self, kind: str, inputs: Inputs) -> list[Failure]:
        """What of these (well-formed) inputs this driver cannot make."""
        ...

    def find(self, kind: str, name: str) -> Actual | None:
        """The estate's resource of that kind and physical name, or None."""
        ...

    def create(self, kind: str, inputs: Inputs) -> Actual:
        """Make a resource that `find` did not find."""
        ...

    def read(self, kind: str, identifier: str) -> Actual | None:
        """The resource of that identifier, or None when it is gone."""
        ...

    def update(self, kind: str, identifier: str, inputs: Inputs) -> Actual:
        """Change what can change in place; immutable properties are equal already."""
        ...

    def delete(self, kind: str, identifier: str) -> None:
        """Remove a resource. Removing what is gone is fine."""
        ...
