"""What a rotation is made of: phases, each a state of the store that the hosts are made to agree with.

A phase changes the store and the ledger in one write and then applies it. Killed in between, the next run
applies it again; `up` at any time makes the hosts agree with the phase the store is in. In every phase either
the old or the new secret works everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from infra.bundle.build import build_bundle
from infra.converge import ConvergeRequest, converge
from infra.drivers.lab.realise import realise
from infra.rotation.notes import HostNotes
from infra.trust.material import Material
from infra.trust.store import NEXT, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.rotation.catalogue import Entry

TAG = "secrets"
"""Tag of every task that brings a secret to a host or makes a service take it up."""
Values = dict[str, str]


class Monitoring(Protocol):
    """What rotations ask of monitoring, which stands above this layer and is handed in."""

    def take_up_keys(self) -> None:
        """Give Zabbix the keys that the store holds."""
        ...

    def wait_until_heard(self, *, since: float) -> None:
        """Wait until every sender was heard after `since` (Unix seconds). Raises YiyunError."""
        ...


@dataclass
class Work:
    """What phases are given."""

    estate: Estate
    source: str
    paths: EstatePaths
    progress: Callable[[str], None]
    monitoring: Monitoring
    notes: HostNotes = field(init=False)

    def __post_init__(self) -> None:
        """The hosts' records are those of this estate."""
        self.notes = HostNotes(self.estate, self.paths, self.progress)

    def material(self) -> Material:
        """The secrets as the store has them now."""
        return Material(self.estate, self.paths)

    def converge(self, hosts: Sequence[str] = ()) -> None:
        """Make hosts (all of them by default) agree with the store, by the roles' own tasks."""
        bundle = build_bundle(self.progress)
        request = ConvergeRequest(tags=(TAG,), limit=tuple(hosts), extra={"yiyun_bundle": str(bundle.path)})
        converge(self.paths, self.source, request, self.progress)

    def converge_users(self, entries: Sequence[Entry]) -> None:
        """Make the hosts that use these secrets agree with the store."""
        self.converge(sorted({host for entry in entries for host in entry.hosts}))

    def realise(self) -> None:
        """Give the lab's balancers what they read. A cloud's driver does so in its listener."""
        if self.estate.provider == "lab":
            self.material().write_lab_certificates()
            realise(self.paths, self.progress)


Apply = Callable[[Work, "Sequence[Entry]"], None]
Change = Callable[[Work, Values, "Sequence[Entry]"], None]


def nothing(_work: Work, _values: Values, _entries: Sequence[Entry]) -> None:
    """The change of a phase that leaves the store as it is."""


@dataclass(frozen=True)
class Phase:
    """One phase. `touches`: what reloads or restarts; `wait`: how long the phase before must stand."""

    name: str
    purpose: str
    apply: Apply
    change: Change = nothing
    touches: tuple[str, ...] = ()
    wait: timedelta = timedelta(0)


def one_batch(entries: Sequence[Entry]) -> list[list[Entry]]:
    """All at once: the kind's secrets do not stand in each other's way."""
    return [list(entries)]


@dataclass(frozen=True)
class Rotator:
    """How secrets of a kind are replaced. `precheck` raises RefusedError when now is no time to begin."""

    kind: str
    phases: tuple[Phase, ...]
    batches: Callable[[Sequence[Entry]], list[list[Entry]]] = one_batch
    precheck: Callable[[Work, Sequence[Entry]], None] = field(default=lambda _work, _entries: None)

    def phases_after(self, name: str) -> tuple[Phase, ...]:
        """The phases that come after one of them; all of them after none."""
        names = [phase.name for phase in self.phases]
        return self.phases[names.index(name) + 1 :] if name in names else self.phases


def add_next(make: Callable[[str], str]) -> Change:
    """The change that puts a new value beside the present one of each name."""

    def change(_work: Work, values: Values, entries: Sequence[Entry]) -> None:
        for entry in entries:
            values[entry.name + NEXT] = make(entry.name)

    return change


def switch(_work: Work, values: Values, entries: Sequence[Entry]) -> None:
    """The change that makes the new value the current one; the old one is still accepted."""
    for entry in entries:
        if entry.name + NEXT in values:
            values[entry.name + PREVIOUS] = values[entry.name]
            values[entry.name] = values.pop(entry.name + NEXT)


def retire(_work: Work, values: Values, entries: Sequence[Entry]) -> None:
    """The change that forgets the old value."""
    for entry in entries:
        values.pop(entry.name + PREVIOUS, None)
