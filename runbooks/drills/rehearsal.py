"""A drill of another sort: nothing is broken. The way back is gone once, beside the estate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from runbooks.drills.model import Objectives, Part, Title, Word, Workload

if TYPE_CHECKING:
    from runbooks.drills.kinds import Fault
    from runbooks.drills.model import Phase

COMPARED = ("tables", "residents", "attachments", "isolation")
"""What must have been compared, each with nothing to differ: the rows, the pages, the files; and that nothing
of the estate itself could be reached from where it was."""


class Sampled(Part):
    """Who uses the service meanwhile: nobody. How many residents are looked at on both sides."""

    kind: Literal["rehearsal"] = "rehearsal"
    residents: int = Field(default=20, ge=2, le=500)
    rate: float = 0.0
    clients: int = 0

    @property
    def spread(self) -> bool:
        """As of a workload."""
        return False

    @property
    def outside(self) -> bool:
        """As of a workload: whoever looks comes through the public door."""
        return True

    @property
    def public(self) -> bool:
        """As of a workload."""
        return True


class _WayBack(Part):
    """What both have: no fault of the catalogue is begun."""

    name: Word
    title: Title
    procedure: Word
    objectives: Objectives

    @property
    def method(self) -> tuple[Phase, ...]:
        """Nothing is chosen: one breaks nothing, the other loses everything."""
        return ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """None of the catalogue's."""
        return ()


class Loss(_WayBack):
    """The region is lost under load, and the estate's successor takes over: the county works from there."""

    rehearses: Literal["region-loss"]
    hypothesis: tuple[Word, ...] = Field(min_length=1)
    """Named probes that hold before; afterwards the successor is asked itself."""
    workload: Workload
    hold_s: float = Field(default=10.0, gt=0, le=600)
    """How long clients use the successor before everything is read."""


class Rehearsal(_WayBack):
    """From the copies in the other region alone to a platform that serves, on scratch hosts."""

    rehearses: Literal["remote-backup"]
    workload: Sampled = Sampled()

    @property
    def hypothesis(self) -> tuple[Word, ...]:
        """What is compared."""
        return COMPARED
