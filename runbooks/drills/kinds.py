"""The kinds of faults a drill can ask for: their parameters with bounds, and whom each one silences.

`breaks` is what the verdict needs to know: hosts whose answers no longer count as recovered, because in that
state they cannot rightly answer. Of every other kind the service may go on by the same way, so recovery
begins after the last trouble that the clients had (`runbooks.drills.evidence.timing`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
"""A host's name, or a role that is looked up when the drill begins (`writer`, `other-member`)."""
Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._-]*$", max_length=80)]
"""A unit of systemd, with or without `.service`."""
Port = Annotated[int, Field(ge=1, le=65535)]
ServicePort = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", max_length=60)]
"""A declared port by its name: `mysql-health.health`."""
EVERYWHERE, ALL = "everywhere", "all"
NOBODY: frozenset[str] = frozenset()
ANSWERING_UNITS = frozenset({"mysql", "yiyun-app", "nginx"})
"""Units whose own answers are what a workload counts: of the database, of the platform, of its door."""
AMOUNTS = frozenset(
    {"one_way", "loss_percent", "kbytes_s", "left_mb", "bytes_s", "iops", "seconds", "mode", "after_kib"}
)
"""Parameters that say how much. Two faults that differ only in these are the same fault."""


class Part(BaseModel):
    """Strict and frozen: an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Breakage(Part):
    """What all kinds have in common."""

    def breaks(self) -> frozenset[str]:
        """Hosts whose answers do not count as recovered while it is in force."""
        return NOBODY

    def touches(self, host: str) -> bool:
        """Whether others may rightly see the host as lost while it is in force: it is named in the fault."""
        return host in self.model_dump().values()

    @property
    def target(self) -> str:
        """What is broken, apart from how much: no drill breaks the same thing twice."""
        return " ".join(f"{k}={v}" for k, v in self.model_dump().items() if k not in AMOUNTS)


class ProcessKilled(Breakage):
    """SIGKILL to a unit's main process, which does not come back by itself until the undo."""

    kind: Literal["process-killed"]
    host: Word
    unit: Unit

    def breaks(self) -> frozenset[str]:
        """Its host, when the unit is one that answers clients."""
        return _answering(self.host, self.unit)


class ProcessStopped(Breakage):
    """SIGSTOP to a unit's processes: it answers nothing and says nothing."""

    kind: Literal["process-stopped"]
    host: Word
    unit: Unit

    def breaks(self) -> frozenset[str]:
        """Its host, when the unit is one that answers clients."""
        return _answering(self.host, self.unit)


class HostFrozen(Breakage):
    """The whole host stands still."""

    kind: Literal["host-frozen"]
    host: Word

    def breaks(self) -> frozenset[str]:
        """The host."""
        return frozenset({self.host})


class HostLost(Breakage):
    """The host is gone at once, without a goodbye."""

    kind: Literal["host-lost"]
    host: Word

    def breaks(self) -> frozenset[str]:
        """The host."""
        return frozenset({self.host})


class LinkCut(Breakage):
    """Packets from one host to another are dropped outside both; connections that stand, too.

    `ports`: only these of TCP, with their answers, by number or `SERVICE.PORT`; none are all. One edge
    between a router and a member is a cut of the member's ports from that one host.
    """

    kind: Literal["link-cut"]
    source: Word
    destination: Word | Literal["everywhere"]
    ports: tuple[Port | ServicePort, ...] = Field(default=(), max_length=16)
    one_way: bool = False

    @model_validator(mode="after")
    def _between_two(self) -> LinkCut:
        if self.source == self.destination:
            raise ValueError(f"{self.source} has no link to itself")
        return self

    def breaks(self) -> frozenset[str]:
        """A host that is cut from everybody. A host behind one cut link still serves others rightly."""
        return frozenset({self.source}) if self.destination == EVERYWHERE and not self.ports else NOBODY


class LinkPoor(Breakage):
    """A link between two hosts, or one and everybody, that loses packets, or carries only so much each way.

    What is too much is dropped, as a shaper with a short queue does.
    """

    kind: Literal["link-poor"]
    source: Word
    destination: Word | Literal["everywhere"]
    loss_percent: int | None = Field(default=None, ge=1, le=99)
    kbytes_s: int | None = Field(default=None, ge=1, le=1_000_000)
    """KiB a second, each way."""

    @model_validator(mode="after")
    def _poor(self) -> LinkPoor:
        if self.loss_percent is None and self.kbytes_s is None:
            raise ValueError("say loss_percent, kbytes_s or both")
        if self.source == self.destination:
            raise ValueError(f"{self.source} has no link to itself")
        return self


class MembersCut(Breakage):
    """Database members cut from each other, but not from their clients."""

    kind: Literal["members-cut"]
    host: Word
    """The member that stands alone."""

    def breaks(self) -> frozenset[str]:
        """The member that stands alone: no commit of it can be right."""
        return frozenset({self.host})


class QuorumCut(Breakage):
    """Every database member cut from every other; clients and routers still reach them all.

    Nobody can commit before the undo, and then anybody may: no member is singled out.
    """

    kind: Literal["quorum-cut"]

    def touches(self, host: str) -> bool:
        """Every member: each has lost the others, and says so to the routers."""
        return bool(host)


class DiskFull(Breakage):
    """A filler on the data disk of a service, so that `left_mb` MiB stay free. The member may still serve."""

    kind: Literal["disk-full"]
    host: Word
    service: Word
    """Whose data path names the disk."""
    left_mb: int = Field(default=0, ge=0, le=100_000)


class SlowDisk(Breakage):
    """The data disk of a service takes and gives only so much, for every process of the host."""

    kind: Literal["slow-disk"]
    host: Word
    service: Word
    bytes_s: int | None = Field(default=None, ge=16 * 1024, le=10**9)
    """Bytes a second, read and written each."""
    iops: int | None = Field(default=None, ge=1, le=100_000)
    """Operations a second, read and written each."""

    @model_validator(mode="after")
    def _slower(self) -> SlowDisk:
        if self.bytes_s is None and self.iops is None:
            raise ValueError("say bytes_s, iops or both")
        return self


class ClockMoved(Breakage):
    """One unit restarted with its wall clock moved; its monotonic clock and everybody else's stay.

    The fault begins with that restart, which its clients feel as well.
    """

    kind: Literal["clock-moved"]
    host: Word
    unit: Unit
    seconds: int = Field(ge=-(10 * 366 * 86400), le=10 * 366 * 86400)

    @model_validator(mode="after")
    def _moved(self) -> ClockMoved:
        if self.seconds == 0:
            raise ValueError("a clock moved by 0 seconds is not moved")
        return self


class MemoryPressure(Breakage):
    """A host's memory lowered to what its processes hold and `left_mb` MiB, and a process that takes those.

    The files it had in memory have to be read anew, again and again. The taker is the first to be killed.
    """

    kind: Literal["memory-pressure"]
    host: Word
    left_mb: int = Field(default=32, ge=4, le=65536)


class CertificateExpired(Breakage):
    """A service serves a leaf of the estate's authority that ended yesterday."""

    kind: Literal["certificate-expired"]
    host: Word
    service: Word


class DnsGone(Breakage):
    """No name server answers a host any more."""

    kind: Literal["dns-gone"]
    host: Word


class LineCut(Breakage):
    """Tunnel packets between the premises and a gateway, or all gateways, are lost on the way."""

    kind: Literal["line-cut"]
    gateway: Word | Literal["all"]


class StorageRefusing(Breakage):
    """A region's object storage. `refusing`: answers 503. `absent`: does not answer. `half`: cuts each
    connection after `after_kib` KiB.
    """

    kind: Literal["storage-refusing"]
    store: Literal["own", "remote"] = "own"
    mode: Literal["refusing", "absent", "half"] = "refusing"
    after_kib: int = Field(default=64, ge=8, le=1_000_000)


Fault = Annotated[
    ProcessKilled
    | ProcessStopped
    | HostFrozen
    | HostLost
    | LinkCut
    | LinkPoor
    | MembersCut
    | QuorumCut
    | DiskFull
    | SlowDisk
    | ClockMoved
    | MemoryPressure
    | CertificateExpired
    | DnsGone
    | LineCut
    | StorageRefusing,
    Field(discriminator="kind"),
]


def with_hosts(fault: Any, named: dict[str, str]) -> dict[str, Any]:
    """A fault's fields with other hosts: `named` by field. To be validated again."""
    return {**fault.model_dump(), **named}


def _answering(host: str, unit: str) -> frozenset[str]:
    return frozenset({host}) if unit.removesuffix(".service") in ANSWERING_UNITS else NOBODY
