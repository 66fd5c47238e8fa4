"""What a drill is: hypothesis, method, objectives, in a file that a person can read and write."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
"""A host's name, or a role that is looked up when the drill begins (`writer`, `other-member`)."""
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Part(BaseModel):
    """Strict and frozen: an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProcessKilled(Part):
    """SIGKILL to a unit's main process, which does not come back by itself until the undo."""

    kind: Literal["process-killed"]
    host: Word
    unit: str


class ProcessStopped(Part):
    """SIGSTOP to a unit's main process: it answers nothing and says nothing."""

    kind: Literal["process-stopped"]
    host: Word
    unit: str


class HostFrozen(Part):
    """The whole host stands still."""

    kind: Literal["host-frozen"]
    host: Word


class HostLost(Part):
    """The host is gone at once, without a goodbye."""

    kind: Literal["host-lost"]
    host: Word


class LinkCut(Part):
    """Packets from one host to another are dropped outside both; connections that stand, too."""

    kind: Literal["link-cut"]
    source: Word
    destination: Word | Literal["everywhere"]
    port: int | None = Field(default=None, ge=1, le=65535)
    one_way: bool = False


class MembersCut(Part):
    """Database members cut from each other, but not from their clients."""

    kind: Literal["members-cut"]
    host: Word
    """The member that stands alone."""


Fault = Annotated[
    ProcessKilled | ProcessStopped | HostFrozen | HostLost | LinkCut | MembersCut, Field(discriminator="kind")
]


class Phase(Part):
    """Faults that begin together, and how long they last before the next phase or the undo."""

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

    kind: Literal["database", "platform"]
    rate: float = Field(gt=0, le=500)
    """Operations a second over all clients."""
    clients: int = Field(ge=1, le=64)

    @property
    def outside(self) -> bool:
        """Whether its clients come through the public door. Then no host's answers are left out of recovery:
        the way is the same before and after a fault, and the other hosts' answers were there all the time.
        """
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
