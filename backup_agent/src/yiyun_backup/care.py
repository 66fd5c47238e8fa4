"""Once a day, on each host: what is stored is copied, locked for longer, and a share of it read back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yiyun_backup import checking, copying, keeping, objects
from yiyun_backup.checked import Share
from yiyun_backup.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from yiyun_backup.config import Config


def care(config: Config, progress: Callable[[str, float], None]) -> dict[str, Any]:
    """Bring what a region lacks; extend and read back, each region in turn. One failure stops no other.

    A host that cares for all (`config.cares`) extends what every host stored and reads catalogue, log and
    bases; every host reads what is its own: nobody else has the password.
    """
    problems: list[str] = []
    done: dict[str, Any] = {"copied": [], "regions": []}
    try:
        brought = copying.copy_missing(config, progress)
        done["copied"] = brought.copied
        problems += brought.problems
    except BackupError as error:
        problems.append(str(error))
    if config.cares:
        try:
            problems += objects.note(config, progress)
        except BackupError as error:
            problems.append(str(error))
    for region in config.regions:
        looked: dict[str, Any] = {"region": region.name}
        done["regions"].append(looked)
        try:
            if config.cares:
                kept = keeping.keep(config, region.name, progress)
                looked["extended"] = kept.extended
                problems += kept.problems
            began, share = datetime.now(UTC), Share.today()
            checked = checking.check(config, region.name, share, progress, own=not config.cares)
            looked |= {"segments": checked.segments, "repositories": checked.repositories}
            problems += [*checked.problems, *checking.note(config, share, checked, began)]
        except BackupError as error:
            problems.append(f"{region.name}: {error}")
    return done | {"problems": problems}
