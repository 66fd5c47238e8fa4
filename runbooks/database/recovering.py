"""Bring a group back that does not serve: start servers, look for life, let the group's program decide."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.errors import RefusedError, YiyunError
from infra.estate.addresses import host_addresses
from infra.reach import run_on
from runbooks.database.recovery import plan_recovery, silent_targets
from runbooks.database.session import together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.database.ground import Hand, Hands
    from runbooks.database.recovery import RecoverPlan

START_SECONDS = 900
"""The unit's own limit: a server that was killed reads its whole redo log first (role mysql)."""
DEADLINE_SECONDS = 300
LIFE_SECONDS = 1.0
PROGRAM = "/usr/local/sbin/yiyun-mysql-group"
REFUSED = 3


def prepare(
    estate: Estate,
    hands: Hands,
    on: Mapping[str, Hand],
    without: Collection[str],
    progress: Callable[[str], None],
) -> RecoverPlan:
    """Start the servers that can be, look, and plan. Raises RefusedError, BadInputError, YiyunError."""
    picture = hands.look()
    stopped = [m.name for m in picture.members if not m.answers and m.name in on]
    if stopped:
        progress(f"starting the server on {', '.join(stopped)}")
        together({name: partial(on[name].ask, "start", seconds=START_SECONDS) for name in stopped})
        picture = hands.look()
    targets = silent_targets(picture, {n: str(a) for n, a in host_addresses(estate).items()})
    if targets:
        progress(f"looking for signs of life of {', '.join(targets)}")
    reached = {name: reached_from(on, where) for name, where in targets.items()}
    return plan_recovery(picture, set(on), without, reached)


def reached_from(on: Mapping[str, Hand], where: Collection[tuple[str, int]]) -> list[str]:
    """Hosts that can connect to one of these (address, port)."""
    asked = [list(pair) for pair in where]
    answers = together({n: partial(h.ask, "reach", targets=asked, limit=LIFE_SECONDS) for n, h in on.items()})
    return [name for name, said in answers.items() if isinstance(said, dict) and said["open"]]


def recover(plan: RecoverPlan, paths: EstatePaths) -> dict[str, Any]:
    """Let the group's program form it. Returns its steps. Raises RefusedError with its words, YiyunError."""
    argv = [PROGRAM, "converge", "--deadline", str(DEADLINE_SECONDS), *(f"--without={n}" for n in plan.lost)]
    done = run_on(paths, plan.judge, argv, seconds=DEADLINE_SECONDS + 60)
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        words = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise YiyunError(f"{plan.judge}: {words}", hint=f"yiyun logs {plan.judge}") from None
    if done.returncode == REFUSED:
        raise RefusedError(said["plan"]["reason"], hint="yiyun db status shows each member's transactions")
    if done.returncode != 0:
        raise YiyunError(f"the group did not form: {said['plan']['reason']}", hint="yiyun db status")
    return {"steps": said["steps"], "members": said["members"], "changed": said["changed"]}
