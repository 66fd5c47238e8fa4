"""Upgrade, or restart, every member one after the other, the writer last and only after a switch."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.errors import RefusedError, YiyunError
from runbooks.database.planning import is_back, plan_switch, upgrade_order
from runbooks.database.switching import switch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runbooks.database.ground import Hand, Hands

BACK_SECONDS = 600
UPGRADE_SECONDS = 700
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Versions:
    """Of one host's server package: what is installed and what its package source offers."""

    installed: str
    candidate: str

    @property
    def newer(self) -> bool:
        """Whether there is something to install."""
        return self.installed != self.candidate


@dataclass
class Upgraded:
    """What was done. `restart_only`: there was no newer server to install."""

    restart_only: bool
    members: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    switch_pause: float | None = None


def check_versions(found: Mapping[str, Versions]) -> bool:
    """Whether there is a newer server at all. Raises RefusedError when it is of another series."""
    for host, versions in found.items():
        before, after = series(versions.installed), series(versions.candidate)
        if versions.newer and before != after:
            raise RefusedError(
                f"{host} would go from {before} to {after}: another series",
                hint="this is for minor versions; rehearse another series on a copy first",
            )
    return any(v.newer for v in found.values())


def series(version: str) -> str:
    """`9.7` of a package version `1:9.7.4-1`; empty for none."""
    found = re.match(r"(?:\d+:)?(\d+\.\d+)", version)
    return found[1] if found else ""


def versions_on(on: Mapping[str, Hand], members: tuple[str, ...]) -> dict[str, Versions]:
    """Versions by member. Raises YiyunError for a host that cannot be asked, or has no such package."""
    found: dict[str, Versions] = {}
    for name in members:
        if name not in on:
            raise YiyunError(f"{name} cannot be asked", hint=f"yiyun ssh {name}")
        on[name].ask("refresh", seconds=120)
        said = on[name].ask("look", seconds=60)
        if not series(said["installed"]):
            raise YiyunError(f"{name} has no server package", hint="yiyun up --only data")
        found[name] = Versions(said["installed"], said["candidate"])
    return found


def upgrade(on: Mapping[str, Hand], hands: Hands, progress: Callable[[str], None]) -> Upgraded:
    """All members, one after the other. Stops, with a YiyunError, where one does not come back."""
    order = upgrade_order(hands.look())
    done = Upgraded(not check_versions(versions_on(on, order)))
    for name in order:
        picture = hands.look()
        upgrade_order(picture)  # still whole: the one before is back, and no other has gone meanwhile
        if picture.writer == name:
            progress(f"{name} is the writer: switching")
            done.switch_pause = switch(plan_switch(picture), hands, progress).pause
        began = time.monotonic()
        progress(f"{name}: package")
        versions = on[name].ask("upgrade", seconds=UPGRADE_SECONDS)
        progress(f"{name}: restart")
        on[name].ask("restart", seconds=UPGRADE_SECONDS)
        wait_back(name, hands, progress, BACK_SECONDS)
        done.members.append({"name": name, **versions, "seconds": round(time.monotonic() - began, 1)})
    return done


def wait_back(name: str, hands: Hands, progress: Callable[[str], None], limit: float) -> None:
    """Until a member serves again and has nothing left to apply. Raises YiyunError."""
    ends, why = time.monotonic() + limit, ""
    while time.monotonic() < ends:
        picture = hands.look()
        why = is_back(picture.member(name), picture)
        if not why:
            return
        progress(f"{name}: {why}")
        time.sleep(LOOK_SECONDS)
    raise YiyunError(
        f"{name} did not come back within {limit:.0f} s: {why}; the members after it were not touched",
        hint=f"yiyun logs {name} -u mysql",
    )
