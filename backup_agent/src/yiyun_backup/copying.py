"""Copies that did not arrive when they were made: brought to the region that lacks them, by who made them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from yiyun_backup.bases import alone, copy_to
from yiyun_backup.catalogue import Base, Copied, Snapshot, removed_in, with_copies
from yiyun_backup.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from yiyun_backup.catalogue import Entry
    from yiyun_backup.config import Config


@dataclass
class Brought:
    """What a run brought where. `left`: what is still lacking, and why, in `problems`."""

    copied: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    left: int = 0
    problems: list[str] = field(default_factory=list[str])


def copy_missing(config: Config, progress: Callable[[str, float], None]) -> Brought:
    """Copy what this host saved to every region that lacks it. Raises RefusedError beside another backup."""
    done = Brought()
    with alone(config, "a copy"):
        wanted = list(missing(config.journal.entries(), [r.name for r in config.regions]))
        for number, (entry, source, target) in enumerate(wanted):
            progress(f"copy {entry.id} to {target}", number / len(wanted))
            try:
                snapshot = _copy(config, entry, source, target)
            except BackupError as error:
                done.left += 1
                done.problems.append(f"{entry.id}: {error}")
                continue
            body = Copied(of=entry.id, region=target, snapshot=snapshot)
            keep = timedelta(days=config.keep.catalogue)
            written, problems = config.journal.add(body, datetime.now(UTC), config.stores(), keep)
            done.copied.append({"id": written.id, "of": entry.id, "region": target})
            done.problems += problems
    return done


def missing(entries: Sequence[Entry], regions: Sequence[str]) -> Iterator[tuple[Entry, str, str]]:
    """(entry, a region that has it, one that lacks it), the newest first. Pure."""
    removed = removed_in(entries)
    for entry in reversed(with_copies(entries)):
        body = entry.body
        if not isinstance(body, Base | Snapshot) or entry.id in removed:
            continue
        having = [region for region in regions if region in body.snapshots]
        for region in regions:
            if having and region not in body.snapshots:
                yield entry, having[0], region


def _copy(config: Config, entry: Entry, source: str, target: str) -> str:
    body = entry.body
    assert isinstance(body, Base | Snapshot)  # noqa: S101  missing() yields no other
    return copy_to(config, config.repository(body.repository, source), target, body.snapshots[source])


def fields_of(done: Brought) -> dict[str, Any]:
    """As JSON."""
    return asdict(done)
