"""What a drill is: hypothesis, method, objectives, in a file that a person can read and write."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from runbooks.drills.kinds import Fault, Part, Word

__all__ = ["Drill", "Fault", "Objectives", "Part", "Phase", "Title", "Word", "Workload"]

Seconds = Annotated[float, Field(gt=0, le=3600)]


class Phase(Part):
    """Faults that begin together, and how long they last before the next phase or the undo.

    Phases follow each other and add up: everything is undone at the end of all, the last fault first.
    """

    faults: tuple[Fault, ...] = Field(min_length=1)
    hold_s: Seconds = 8.0


class Objectives(Part):
    """What the service promises. `rto_s`: seconds until a client is served; `rpo_s`: of writes lost."""

    rto_s: Seconds
    rpo_s: float = Field(default=0.0, ge=0)
    failed: int | None = Field(default=None, ge=0)
    """Requests that clients may see fail, from the fault on; None: nothing is promised."""
    added_p99_s: float | None = Field(default=None, gt=0)
    """Seconds that the fault may add to the 99th percentile of waits; None: nothing is promised."""


class Workload(Part):
    """Who uses the service meanwhile: requests at a fixed rate, whether they are answered or not."""

    kind: Literal["database", "platform", "line", "hospital"]
    rate: float = Field(gt=0, le=500)
    """Operations a second over all clients."""
    clients: int = Field(ge=1, le=64)
    spread: bool = False
    """Clients on every app host, behind every router; else on one. Of the database's only."""

    @property
    def outside(self) -> bool:
        """Whether its clients come from outside: through the public door, or from the premises. Then no
        host's answers are left out of recovery: who answers does not tell the way that a request went, and
        the other hosts' answers were there all the time.
        """
        return self.kind != "database"

    @property
    def public(self) -> bool:
        """Whether its clients come through the public door, the load balancer."""
        return self.kind == "platform"


class Title(Part):
    """A drill's name for people."""

    zh: str
    en: str


class Drill(Part):
    """One experiment."""

    name: Word
    title: Title
    procedure: Word
    """The page in `runbooks/procedures` that it rehearses."""
    hypothesis: tuple[Word, ...] = Field(min_length=1)
    """Named probes; all hold before the method and again after its undo."""
    workload: Workload
    method: tuple[Phase, ...] = Field(min_length=1)
    objectives: Objectives
    settle_s: Seconds = 60.0
    """How long the estate may need to be whole again after the undo."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Every fault, in the order in which they begin."""
        return tuple(fault for phase in self.method for fault in phase.faults)

    @model_validator(mode="after")
    def _each_fault_once(self) -> Drill:
        targets = [fault.target for fault in self.faults]
        twice = sorted({t for t in targets if targets.count(t) > 1})
        if twice:
            raise ValueError(f"the same fault twice: {'; '.join(twice)}")
        return self
