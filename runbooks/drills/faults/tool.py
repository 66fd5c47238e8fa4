"""What every kind of fault can do: say its undo beforehand, do it, look whether it bites, undo it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

Order = dict[str, Any]
"""What undoes one fault, as data that outlives the process."""


@dataclass(frozen=True)
class Place:
    """Where faults are done. `mark` names the drill in whatever a fault leaves, so that its undo finds it."""

    estate: Estate
    paths: EstatePaths
    mark: str


@dataclass(frozen=True)
class Tool:
    """One kind of fault in a lab. Every call may be made again, also by another process."""

    order: Callable[[Any, Place], Order]
    """What will undo it. Changes nothing."""
    inject: Callable[[Any, Place], None]
    """Does it. Raises YiyunError when it cannot be done."""
    bites: Callable[[Any, Place], bool]
    """Whether it is in force."""
    undo: Callable[[Order, Place], None]
    """Undoes it, also where it never happened. Raises YiyunError."""
    is_undone: Callable[[Order, Place], bool]
    """Whether nothing of it is left."""
    ready: Callable[[Any, Place], Callable[[], None]] | None = None
    """Does what no client feels, and gives the call that does the rest: preparing is no outage.
    None: there is nothing to prepare."""
