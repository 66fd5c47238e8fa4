"""Rebuild a member's data from another by CLONE. The old data stay beside the new until those are proven."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from infra.errors import RefusedError, YiyunError
from infra.services.data import MYSQL
from runbooks.database.planning import is_back, room_is_enough
from runbooks.database.session import sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from infra.paths import EstatePaths
    from runbooks.database.ground import Hand, Hands
    from runbooks.database.planning import ReplacePlan

STOP_SECONDS = 700
"""The unit's own limit for its stop is 600 s (role mysql)."""
JOIN_SECONDS = 330
LOOK_SECONDS = 1.0


@contextmanager
def machines(paths: EstatePaths, hosts: Iterable[str]) -> Generator[Mapping[str, Hand]]:
    """The hosts' own programs for units, packages and disks. Hosts that cannot be asked are absent."""
    arguments = {"directory": MYSQL.data_paths[0]}
    with sessions(paths, dict.fromkeys(hosts, ("machine", arguments))) as (opened, _):
        yield opened


def check_room(plan: ReplacePlan, on: Mapping[str, Hand], *, keep: bool) -> tuple[int, int]:
    """Bytes to copy and bytes free. Raises RefusedError when the copy does not fit, YiyunError."""
    missing = [name for name in (plan.member, plan.donors[0]) if name not in on]
    if missing:
        raise YiyunError(f"{missing[0]} cannot be asked", hint=f"yiyun ssh {missing[0]}")
    own, donor = on[plan.member].ask("look", seconds=60), on[plan.donors[0]].ask("look", seconds=60)
    if not room_is_enough(own["free"], donor["bytes"], own["bytes"], keep=keep):
        hint = "--discard-first removes its present data before the copy" if keep else "a larger disk"
        raise RefusedError(
            f"the copy needs {_mib(donor['bytes'])} and more, {plan.member} has {_mib(own['free'])} free",
            hint=hint,
        )
    return int(donor["bytes"]), int(own["free"])


def replace(
    plan: ReplacePlan,
    estate: str,
    on: Mapping[str, Hand],
    hands: Hands,
    progress: Callable[[str], None],
    *,
    keep: bool,
    limit: float,
) -> dict[str, Any]:
    """Carry a plan out. Returns whether it came by CLONE, and seconds. `limit`: seconds for the copy.

    Raises YiyunError; the old data are in their place again then, where they were kept.
    """
    machine, began = on[plan.member], time.monotonic()
    progress(f"{plan.donors[0]} proves that it can commit")
    for donor in plan.donors[:1]:
        hands.members[donor].ask("prove", member=donor)
    machine.ask("hold", on=True)
    progress(f"setting the data of {plan.member} aside")
    machine.ask("set_aside", seconds=STOP_SECONDS, keep=keep)
    try:
        progress("a new data directory")
        machine.ask("make", seconds=STOP_SECONDS, estate=estate, host=plan.member)
        taken = time.monotonic()
        hands.members[plan.member].ask("clone_next", seconds=JOIN_SECONDS)
        machine.ask("hold", on=False)  # from here the keeper joins it, also after the copy's own restart
        cloned = _wait(plan.member, hands, progress, limit)
    except BaseException:
        machine.ask("put_back", seconds=STOP_SECONDS)
        machine.ask("hold", on=False)
        raise
    machine.ask("finish", seconds=STOP_SECONDS)
    ended = time.monotonic()
    return {"cloned": cloned, "away_s": round(ended - began, 1), "copy_s": round(ended - taken, 1)}


def _wait(name: str, hands: Hands, progress: Callable[[str], None], limit: float) -> bool:
    """Until the member is back, saying how far it is. Returns whether it came by a copy."""
    ends, cloned, why = time.monotonic() + limit, False, ""
    while time.monotonic() < ends:
        said = hands.members[name].ask("cloning", seconds=JOIN_SECONDS)
        cloned = cloned or any(
            s["stage"] == "FILE COPY" and s["state"] == "Completed" for s in said["stages"]
        )
        picture = hands.look()
        why = is_back(picture.member(name), picture)
        if not why:
            return cloned
        progress(f"{copied(said['stages'])}{name}: {why}")
        time.sleep(LOOK_SECONDS)
    raise YiyunError(
        f"{name} did not come back within {limit:.0f} s: {why}", hint=f"yiyun logs {name} -u mysql"
    )


def copied(stages: Iterable[Mapping[str, Any]]) -> str:
    """How much of a running copy is there, for a progress line; empty when none runs. Pure."""
    rows = [s for s in stages if s["estimate"]]
    if not rows or all(s["state"] == "Completed" for s in rows):
        return ""
    have, want = sum(int(s["data"]) for s in rows), sum(int(s["estimate"]) for s in rows)
    return f"copied {_mib(have)} of {_mib(want)} ({100 * have // want} %); "


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
