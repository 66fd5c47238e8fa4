"""What a region's catalogue says, as the lines of `backup list`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Told = dict[str, Any]
WITH_DATA = frozenset({"base", "snapshot"})
HELD = "held"
"""In place of a time: nothing removes it before the hold is taken off."""


@dataclass(frozen=True)
class Listed:
    """One backup. Times as RFC 3339; empty where there is none."""

    id: str
    what: str
    host: str
    where: tuple[str, ...]
    taken: str
    covers_from: str
    covers_to: str
    """Of the database any moment between the two can be reached, with the log that follows the base."""
    bytes: int
    verified: str
    """When its repository was read back in this region after it was taken, without a problem."""
    held_until: str


def listed(told: Mapping[str, Any]) -> list[Listed]:
    """Backups whose data is there, oldest first. `told`: what an agent lists of a region."""
    removed, held = set(told["removed"]), set(told["held"])
    backs = [e for e in told["entries"] if _is_good(e, told["region"])]
    found: list[Listed] = []
    for entry in told["entries"]:
        body = entry["body"]
        if body["kind"] not in WITH_DATA or entry["id"] in removed:
            continue
        first, last = _covers(entry, told["log"])
        found.append(
            Listed(
                id=entry["id"],
                what=body.get("service", "mysql"),
                host=entry["writer"],
                where=tuple(sorted(body["snapshots"])),
                taken=entry["ended"],
                covers_from=first,
                covers_to=last,
                bytes=body["bytes"],
                verified=_verified(entry, backs),
                held_until=HELD if entry["id"] in held else told["locked_until"].get(entry["id"], ""),
            )
        )
    return found


def _is_good(entry: Told, region: str) -> bool:
    body = entry["body"]
    return body["kind"] == "read-back" and body["region"] == region and not body["problems"]


def _verified(entry: Told, backs: Sequence[Told]) -> str:
    repository = entry["body"]["repository"]
    times = [
        back["ended"]
        for back in backs
        if repository in back["body"]["repositories"] and back["ended"] > entry["ended"]
    ]
    return max(times, default="")


def _covers(entry: Told, log: Mapping[str, Told]) -> tuple[str, str]:
    """A snapshot is of the time when it was begun; a base reaches as far as a log that began before it."""
    if entry["body"]["kind"] != "base":
        return entry["began"], entry["began"]
    ends = [reach["to"] for reach in log.values() if reach["from"] and reach["from"] <= entry["ended"]]
    return entry["ended"], max([*ends, entry["ended"]])
