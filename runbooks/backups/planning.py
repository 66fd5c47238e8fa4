"""What is backed up, how, where to and for how long: the table an assessor asks for. Pure.

GB/T 22239-2019, 8.1.10.11: what is backed up; way, frequency, medium, retention (dr-facts, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.estate.backups import AGENT_WAYS, items_of, stores_of
from infra.services.backup import BACKUP
from infra.services.catalogue import services_of

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.services.model import Way

HOW: dict[Way, tuple[str, str]] = {
    "files": ("files, deduplicated and encrypted", "each night"),
    "sqlite": ("a checked copy of each database", "each night"),
    "dump": ("a dump of the database", "each night"),
    "mysql": ("the log as it grows; a physical base each night", "all the time"),
    "objects": ("every version copied to the other region", "each minute"),
    "rman": ("awaiting media: not saved", "never"),
}
"""Way → in words, and how often."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    hosts: tuple[str, ...]
    way: str
    paths: tuple[str, ...]
    how: str
    often: str


@dataclass(frozen=True)
class Plan:
    """What is saved, where to (region, bucket), and what need not be and why."""

    lines: tuple[Line, ...]
    stores: tuple[tuple[str, str], ...]
    not_saved: tuple[tuple[str, str], ...]


def plan(estate: Estate) -> Plan:
    """The plan of an estate."""
    found: dict[tuple[str, Way, tuple[str, ...]], list[str]] = {}
    nothing: dict[str, str] = {}
    for host in estate.hosts:
        for item in items_of(host):
            if item.save.way in AGENT_WAYS and BACKUP not in services_of(host):
                nothing[f"{item.service} of {host.name}"] = "NOT SAVED YET: no agent runs there"
                continue
            found.setdefault((item.service, item.save.way, item.save.paths), []).append(host.name)
        nothing |= {s.name: s.keeps_nothing for s in services_of(host) if s.keeps_nothing}
    lines = [
        Line(service, tuple(hosts), way, paths, *HOW[way]) for (service, way, paths), hosts in found.items()
    ]
    buckets = tuple(b.name for b in estate.buckets if any(c.copy_of == b.name for c in estate.buckets))
    if buckets:
        lines.append(Line("object-storage", (), "objects", buckets, *HOW["objects"]))
    return Plan(
        tuple(sorted(lines, key=lambda line: (line.what, line.way))),
        tuple(stores_of(estate)),
        tuple(sorted(nothing.items())),
    )
