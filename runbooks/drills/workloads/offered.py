"""The workloads by kind: how each begins, what must be held afterwards, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.drills.evidence.members import held_by
from runbooks.drills.workloads import guests, premises
from runbooks.drills.workloads.database import ACCOUNTS, BALANCE
from runbooks.drills.workloads.launch import start_database, start_platform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.evidence.history import Held
    from runbooks.drills.journal import Event
    from runbooks.drills.model import Workload
    from runbooks.drills.workloads.launch import Running


@dataclass(frozen=True)
class Offer:
    """One kind of workload."""

    begin: Callable[[Estate, EstatePaths, Workload, Path, int, str], Running]
    """With the history's file, the seed, and the app host whose network it may use. Raises YiyunError."""
    held: Callable[[Estate, EstatePaths], list[Held]]
    """What every member holds afterwards. Raises YiyunError."""
    leave: Callable[[Estate, EstatePaths], None] | None
    """Removes what it made, as often as asked; None: it keeps to a place of its own. Raises YiyunError."""
    total: int
    """Of the bank before the drill."""
    stands_at: str = ""
    """Role of the drill on whose host's network its clients stand; empty: outside of all hosts."""


def _database(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int, client: str
) -> Running:
    return start_database(estate, paths, workload, client, history, seed)


def _platform(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int, _client: str
) -> Running:
    return start_platform(estate, paths, workload, history, seed)


def _line(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int, _client: str
) -> Running:
    return premises.start_line(estate, paths, workload, history, seed)


def _hospital(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int, _client: str
) -> Running:
    return premises.start_hospital(estate, paths, workload, history, seed)


def _in_database(estate: Estate, paths: EstatePaths) -> list[Held]:
    return held_by(paths, [h.name for h in estate.hosts_with("db")])


OFFERS: Mapping[str, Offer] = {
    "database": Offer(_database, _in_database, None, ACCOUNTS * BALANCE, "client"),
    "platform": Offer(_platform, guests.held, guests.leave, 0),
    "line": Offer(_line, premises.held, guests.leave, 0, "edge"),
    "hospital": Offer(_hospital, premises.held_once_delivered, premises.leave_once_delivered, 0, "premises"),
}
"""Kind of a workload → what carries it out in a lab."""


def to_remove(events: Sequence[Event]) -> str:
    """Kind of the workload whose things a drill with this journal did not remove, else empty."""
    kinds = [str(e.fields.get("kind", "database")) for e in events if e.name == "load"]
    leaving = [kind for kind in kinds if OFFERS[kind].leave is not None]
    return leaving[-1] if leaving and not any(e.name == "cleared" for e in events) else ""
