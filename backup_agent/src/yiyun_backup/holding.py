"""A legal hold is an entry. While it is on, what it names is extended by each run, and never pruned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import Base, Hold, Snapshot
from yiyun_backup.errors import BadInputError, RefusedError
from yiyun_backup.journal import read_all
from yiyun_backup.needs import holds_in, needs_in

if TYPE_CHECKING:
    from yiyun_backup.config import Config


@dataclass(frozen=True)
class Held:
    """What was written, and what is held now by whom."""

    id: str
    of: str
    on: bool
    held: tuple[str, ...]
    problems: tuple[str, ...]


def hold(config: Config, of: str, *, on: bool, by: str, reason: str) -> Held:
    """Lay a hold on a base or a snapshot, or take it off. Raises BadInputError, RefusedError."""
    began = datetime.now(UTC)
    if not by.strip() or not reason.strip():
        raise BadInputError("a hold has a person and a reason", "--by NAME --reason TEXT")
    found = read_all(config.store(), config.keys_of)
    entry = next((e for e in found.every() if e.id == of), None)
    if entry is None or not isinstance(entry.body, Base | Snapshot):
        raise BadInputError(f"{of} is no base and no snapshot", "yiyun-backup list")
    needs = needs_in(found.entries, config.keep, began, [])
    if on and entry not in (*needs.kept, *needs.over):
        raise RefusedError(f"the data of {of} was removed")
    own = {config.host: found.entries.get(config.host, [])}
    if not on and of not in holds_in(own):
        where = ", ".join(h for h, them in found.entries.items() if of in holds_in({h: them})) or "nowhere"
        raise BadInputError(f"no hold on {of} was laid on from this host", f"laid on from: {where}")
    body = Hold(of=of, on=on, by=by.strip(), reason=reason.strip())
    keep = timedelta(days=config.keep.catalogue)
    written, problems = config.journal.add(body, began, config.stores(), keep)
    entries = {**found.entries, config.host: [*own[config.host], written]}
    return Held(written.id, of, on, tuple(sorted(holds_in(entries))), tuple(problems))


def fields_of(done: Held) -> dict[str, Any]:
    """As JSON."""
    return {**asdict(done), "held": list(done.held), "problems": list(done.problems)}
