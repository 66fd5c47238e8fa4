"""The database as it is at one moment, from what its members and routers say. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PRESENT = frozenset({"ONLINE", "RECOVERING"})
_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?$")


@dataclass(frozen=True)
class Busy:
    """A client in the middle of something. `seconds`: how long its transaction has been open."""

    id: int
    user: str
    host: str
    seconds: float


@dataclass(frozen=True)
class Member:
    """One member, as itself says."""

    name: str
    answers: bool = False
    problem: str = ""
    """Why it does not answer."""
    uuid: str = ""
    version: str = ""
    state: str = "UNREACHABLE"
    view: Mapping[str, str] = field(default_factory=dict[str, str])
    """The group as it sees it: member → state."""
    executed: str = ""
    received: str = ""
    missing: str = ""
    """GTIDs that another member holds, executed or received, and this one has not executed."""
    only: str = ""
    """GTIDs that no other answering member holds."""
    apply_queue: int = 0
    certify_queue: int = 0
    conflicts: int = 0
    """Transactions rolled back here because another member's came first, since it joined."""
    read_only: bool = False
    offline: bool = False
    single_primary: bool = False
    busy: tuple[Busy, ...] = ()
    ready: bool = False
    """Whether its health agent says that it may be the writer."""
    reasons: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """ONLINE in a group that can decide, as itself sees it."""
        present = sum(s in PRESENT for s in self.view.values())
        return self.answers and self.state == "ONLINE" and 2 * present > len(self.view)


@dataclass(frozen=True)
class Router:
    """One router, as itself says."""

    name: str
    answers: bool = False
    problem: str = ""
    writer: str | None = None
    status: Mapping[str, str] = field(default_factory=dict[str, str])
    """Member → `UP`, `DOWN`, `MAINT`, … as this router has it."""
    sessions: Mapping[str, int] = field(default_factory=dict[str, int])
    apart: tuple[str, ...] = ()
    """Routers that it is not connected to: what it does not hear of, it cannot agree with."""
    left: tuple[str, ...] = ()
    """Members that a switch put in maintenance and nobody made ready again."""
    gate_closed_s: float = 0.0


@dataclass(frozen=True)
class Picture:
    """Members and routers in the estate's order."""

    members: tuple[Member, ...]
    routers: tuple[Router, ...]

    def member(self, name: str) -> Member:
        """The member of that name. Raises KeyError."""
        return next_named(self.members, name)

    @property
    def writer(self) -> str | None:
        """The member that every router leads to; None when they differ, or one does not answer."""
        found = {r.writer for r in self.routers} if all(r.answers for r in self.routers) else set[str]()
        return found.pop() if len(found) == 1 else None

    @property
    def online(self) -> tuple[str, ...]:
        """Members that serve."""
        return tuple(m.name for m in self.members if m.serves)

    @property
    def majority(self) -> int:
        """How many of the configured members must serve, as the health agents count."""
        return len(self.members) // 2 + 1

    @property
    def single_primary(self) -> bool:
        """Whether the group elects its writer itself."""
        return any(m.single_primary for m in self.members if m.answers)


def next_named(members: tuple[Member, ...], name: str) -> Member:
    """The member of that name. Raises KeyError."""
    for member in members:
        if member.name == name:
            return member
    raise KeyError(name)


def member_of(name: str, said: Mapping[str, Any], missing: str = "", only: str = "") -> Member:
    """A member from its program's answer (`onhost.member.Member.look`)."""
    health: Mapping[str, Any] = said.get("health") or {"ready": False, "reasons": []}
    ready, reasons = bool(health["ready"]), tuple(str(r) for r in health["reasons"])
    if not said.get("answers"):
        return Member(name, problem=str(said.get("problem", "")), ready=ready, reasons=reasons)
    return Member(
        name=name,
        answers=True,
        uuid=said["uuid"],
        version=said["version"],
        state=said["state"],
        view=dict(said["view"]) if said["state"] != "OFFLINE" else {},
        executed=said["executed"],
        received=said["received"],
        missing=missing,
        only=only,
        apply_queue=int(said["apply_queue"]),
        certify_queue=int(said["certify_queue"]),
        conflicts=int(said["conflicts"]),
        read_only=bool(said["read_only"]),
        offline=bool(said["offline"]),
        single_primary=bool(said["single_primary"]),
        busy=tuple(Busy(b["id"], b["user"], b["host"], b["seconds"]) for b in said["busy"]),
        ready=ready,
        reasons=reasons,
    )


def router_of(name: str, said: Mapping[str, Any]) -> Router:
    """A router from its program's answer (`onhost.router.Router.look`)."""
    members = said["members"]
    return Router(
        name=name,
        answers=True,
        writer=said["writer"],
        status={m["name"]: m["status"] for m in members},
        sessions={m["name"]: m["sessions"] for m in members},
        apart=tuple(said["apart"]),
        left=tuple((said["left"] or {}).get("put", ())),
        gate_closed_s=float(said["gate_closed_s"]),
    )


def transactions_in(gtids: str) -> int:
    """How many transactions a GTID set names, tags (`UUID:TAG:1-3`) included."""
    total = 0
    for part in re.split(r"[:,]", gtids):
        if found := _INTERVAL.fullmatch(part.strip()):
            total += int(found[2] or found[1]) - int(found[1]) + 1
    return total


def gaps_in(gtids: str) -> int:
    """How many holes the numbers of each source have. Normal here: each member takes a block of numbers."""
    holes, last = 0, ""
    for part in re.split(r"[:,]", gtids):
        is_interval = _INTERVAL.fullmatch(part.strip()) is not None
        holes += is_interval and last == "interval"
        last = "interval" if is_interval else "name"
    return holes


def problems(picture: Picture) -> Iterator[str]:
    """What is not as it should be, in sentences."""
    for member in picture.members:
        yield from _problems_of_member(member)
    for router in picture.routers:
        yield from _problems_of_router(router)
    if picture.writer is None:
        said = ", ".join(f"{r.name}: {r.writer or 'none'}" for r in picture.routers)
        yield f"the routers do not agree on one writer ({said}; yiyun db status --repair)"
    if len({m.single_primary for m in picture.members if m.answers}) > 1:
        yield "members differ in mode: some are set for a single primary"


def _problems_of_member(member: Member) -> Iterator[str]:
    if not member.answers:
        yield f"{member.name} does not answer: {member.problem}"
    elif member.state != "ONLINE":
        yield f"{member.name} is {member.state}"
    elif not member.serves:
        yield f"{member.name} sees no majority of its group: commits wait"


def _problems_of_router(router: Router) -> Iterator[str]:
    if not router.answers:
        yield f"the router on {router.name} does not answer: {router.problem}"
    for name in router.apart:
        yield f"{router.name} is not connected to the router on {name}: they cannot agree on a writer"
    for name in router.left:
        yield f"{router.name}: a switch left {name} in maintenance (yiyun db status --repair)"
    for name, count in router.sessions.items():
        if count and name != router.writer:
            yield f"{router.name}: {count} session(s) on {name}, which is not the writer"
