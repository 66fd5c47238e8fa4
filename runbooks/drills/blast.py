"""What a plan's changes would interrupt, and what the last drills of that showed. Pure.

A change of a host, its disk or its tunnel stops what runs there, as the drills do that break a host of the
same role. A change of a load balancer stops nothing that a drill breaks, but drills through the public door
were measured on the way that changes. In both cases what was rehearsed is not what will stand: those drills
are stale until they are run again. Security groups, addresses and buckets interrupt no host: left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbooks.drills.evidence.timing import quantile
from runbooks.drills.ran import by_drill, times

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from infra.engine.changes import Change
    from infra.estate.model import Estate
    from runbooks.drills.model import Drill
    from runbooks.drills.ran import Ran

NEWEST = 20
"""How many runs of a drill are looked at: what it showed lately, and a preview stays quick."""
WORDS = {"update": "restarts", "replace": "replaces", "delete": "removes"}
"""Action → what it does to what it changes. What is created interrupts nothing."""
QUIET = frozenset({"authorized_key", "security_group"})
"""Properties of a host that change without a restart."""
BROKEN_FIELDS = ("host", "source", "gateway")
"""Fields of faults that name what is broken."""
ROLES = {
    "writer": "db",
    "other-member": "db",
    "third-member": "db",
    "client": "app",
    "other-client": "app",
    "backend": "app",
    "line-gateway": "gateway",
    "other-gateway": "gateway",
    "all": "gateway",
    "ops": "ops",
    "edge": "edge",
    "premises": "hospital",
}
"""A drill's word for a host (`roles.roles_now`) → the estate's role that such a host has."""


@dataclass(frozen=True)
class Blast:
    """One change beside one drill that rehearses it. `runs` count only what passed or failed."""

    change: str
    drill: str
    runs: int
    rto_p50_s: float | None
    rto_max_s: float | None
    newest_days: int | None
    stale: bool
    """Whether the change makes what the drill showed out of date: False when it never ran."""

    def as_json(self) -> dict[str, Any]:
        """As in the command contract."""
        return vars(self).copy()

    def __str__(self) -> str:
        if not self.runs:
            return f"{self.change}: {self.drill} was never rehearsed"
        took = "nobody was served again" if self.rto_p50_s is None else f"{self.rto_p50_s:.1f} s"
        most = "" if self.rto_max_s is None else f", at most {self.rto_max_s:.1f} s"
        age = "today" if not self.newest_days else f"{self.newest_days} days old"
        number = "1 drill" if self.runs == 1 else f"{self.runs} drills, newest"
        return f"{self.change}: {self.drill} {took}{most}; {number} {age}; stale after this"


def blast_radius(
    changes: Sequence[Change], estate: Estate, drills: Mapping[str, Drill], runs: Sequence[Ran], now: datetime
) -> list[Blast]:
    """Each change that interrupts something, with each drill that rehearses it, in the plan's order."""
    history = by_drill([run for run in runs if run.counts])
    return [
        _blast(what, name, history.get(name, []), now)
        for what, touched in _interrupted(changes, estate)
        for name, drill in drills.items()
        if touched & broken_roles(drill, estate) or (BALANCER in touched and drill.workload.public)
    ]


BALANCER = "load balancer"


def words_of(drill: Drill) -> frozenset[str]:
    """Hosts, or words for hosts, that a drill's faults act on; none where a fault acts on something else."""
    faults = [fault for phase in drill.method for fault in phase.faults]
    return frozenset(str(getattr(f, field)) for f in faults for field in BROKEN_FIELDS if hasattr(f, field))


def broken_roles(drill: Drill, estate: Estate) -> frozenset[str]:
    """Roles of the hosts that a drill breaks, whether it names hosts or looks them up when it begins."""
    roles = {host.name: frozenset(host.roles) for host in estate.hosts}
    found: frozenset[str] = frozenset()
    for word in words_of(drill):
        found |= roles.get(word) or frozenset({ROLES[word]} if word in ROLES else ())
    return found


def _interrupted(changes: Sequence[Change], estate: Estate) -> Iterator[tuple[str, frozenset[str]]]:
    """What happens in words, and the roles that it happens to; each once."""
    roles = {host.name: frozenset(host.roles) for host in estate.hosts}
    disks = {f"{host.name}-{disk.name}": host.name for host in estate.hosts for disk in host.disks}
    told: set[str] = set()
    for change in changes:
        word = WORDS.get(change.action)
        if word is None or (change.properties and {p.name for p in change.properties} <= QUIET):
            continue
        name = change.resource.removeprefix(f"{change.kind.lower()}-")
        if change.kind in {"LoadBalancer", "Listener"}:
            what, touched = f"changes the way through {change.resource}", frozenset({BALANCER})
        elif change.kind == "Tunnel":
            what, touched = f"{word} the tunnel of {name}", frozenset({"gateway"})
        elif change.kind in {"Host", "Disk"}:
            host = name if change.kind == "Host" else disks.get(name, "")
            what, touched = f"{word} {name}", roles.get(host, frozenset[str]())
        else:
            continue
        if what not in told:
            told.add(what)
            yield what, touched


def _blast(change: str, drill: str, runs: Sequence[Ran], now: datetime) -> Blast:
    shown = sorted(runs, key=lambda run: run.at)[-NEWEST:]
    seconds = times(shown)
    return Blast(
        change=change,
        drill=drill,
        runs=len(shown),
        rto_p50_s=quantile(seconds, 0.5) if seconds else None,
        rto_max_s=max(seconds, default=None),
        newest_days=max(0, (now - shown[-1].at).days) if shown else None,
        stale=bool(shown),
    )
