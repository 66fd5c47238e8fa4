"""The planned switch of the writer under load: gate, wait, proof, turn, open. It moves whole or not at all.

Before the turn every failure opens the gate again, and nothing has happened. During the turn a failure turns
the routers back. If this process dies, the program on each router's host puts everything back by itself
(`onhost.router`): at once when its session ends, at the latest when the gate's own time is over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError
from runbooks.database.session import together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runbooks.database.ground import Hand, Hands
    from runbooks.database.planning import SwitchPlan

GATE_SECONDS = 2.0
"""The gate opens by itself after that, whatever became of everybody."""
BUSY_SECONDS = 0.2
"""How long transactions that are open may take to end (dr-facts: planned switch)."""
CATCH_UP_SECONDS = 0.5
TRIES = 5
REST_SECONDS = 0.5
"""Between two tries, so that those who waited at the gate are served."""


@dataclass
class Switched:
    """What became of a switch. Times are seconds; `pause`: gate closed to gate open, of the good try."""

    old: str
    to: str
    tries: int = 0
    pause: float = 0.0
    steps: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """What was done, and when after the gate began to close."""


class BusyError(YiyunError):
    """Somebody stayed in a transaction for longer than the gate may wait. Nothing was changed."""


def switch(plan: SwitchPlan, hands: Hands, progress: Callable[[str], None]) -> Switched:
    """Carry a plan out. Raises YiyunError when it did not happen; the old writer is the writer then."""
    done = Switched(plan.old, plan.to)
    while True:
        done.tries += 1
        try:
            _once(plan, hands, done)
            return done
        except BusyError as error:
            progress(f"{error.message}; try {done.tries} of {TRIES}")
            if done.tries == TRIES:
                raise
        time.sleep(REST_SECONDS)


def _once(plan: SwitchPlan, hands: Hands, done: Switched) -> None:
    began, done.steps = time.monotonic(), []

    def mark(step: str) -> None:
        done.steps.append((step, round(time.monotonic() - began, 4)))

    try:
        _quieten(plan, hands, began, mark)
    except BaseException:
        _open(hands.routers, discard=False)
        raise
    try:
        _turn(hands.routers, plan.to, elected=plan.elected)
        mark("routers lead to the new writer")
    except BaseException:
        _turn_back(plan, hands)
        raise
    _all(hands.routers, "open", discard=True)
    mark("gate open")
    done.pause = time.monotonic() - began


def _quieten(plan: SwitchPlan, hands: Hands, began: float, mark: Callable[[str], None]) -> None:
    """Nobody is in a transaction, and the new writer holds everything and can commit."""
    old, new = hands.members[plan.old], hands.members[plan.to]
    closed = _all(hands.routers, "close", closed_s=GATE_SECONDS, limit=BUSY_SECONDS)
    mark("gate closed")
    inside = [name for name, answer in closed.items() if not answer["empty"]]
    if inside:
        raise BusyError(
            f"a transaction on {', '.join(inside)} took longer than {BUSY_SECONDS} s",
            hint="nothing was changed; yiyun db status names who is busy",
        )
    left = max(0.0, BUSY_SECONDS - (time.monotonic() - began))
    drained = old.ask("drain", clients=list(hands.tier.clients), limit=left)
    if drained["busy"]:
        who = ", ".join(f"{b['user']} on {b['host']} (session {b['id']})" for b in drained["busy"])
        raise BusyError(
            f"in a transaction past the gate: {who}", hint="nothing was changed; let it end, or end it"
        )
    mark("old writer quiet")
    if not new.ask("catch_up", executed=drained["executed"], limit=CATCH_UP_SECONDS)["caught_up"]:
        raise YiyunError(
            f"{plan.to} did not catch up within {CATCH_UP_SECONDS} s", hint="nothing was changed; again later"
        )
    if plan.elected:
        old.ask("elect", uuid=plan.to_uuid)
        mark("group elected the new writer")
    new.ask("prove", member=plan.to)
    if (
        plan.elected
    ):  # else its routers would end the sessions again that they have just been told to lead there
        health = new.ask("ready", limit=CATCH_UP_SECONDS)
        if not health["ready"]:
            raise YiyunError(
                f"{plan.to} is not ready: {'; '.join(health['reasons'])}", hint="yiyun db status"
            )
    mark("new writer proven")


def _turn(routers: Mapping[str, Hand], to: str, *, elected: bool) -> None:
    """Every router leads to one member; asked once more when all have turned, since they tell each other."""
    _all(routers, "turn", to=to, elected=elected)
    held = {name: answer["held"] for name, answer in _all(routers, "held").items()}
    if set(held.values()) != {to}:
        said = ", ".join(f"{name} holds {member}" for name, member in held.items())
        raise YiyunError(f"the routers do not agree on {to}: {said}", hint="yiyun db status --repair")


def _turn_back(plan: SwitchPlan, hands: Hands) -> None:
    """The old writer again, as far as routers answer; what does not answer puts itself back."""
    if not plan.elected:
        together({n: partial(h.ask, "turn", to=plan.old) for n, h in hands.routers.items()})
    _open(hands.routers, discard=True)


def _open(routers: Mapping[str, Hand], *, discard: bool) -> None:
    together({n: partial(h.ask, "open", discard=discard) for n, h in routers.items()})


def _all(routers: Mapping[str, Hand], what: str, **arguments: Any) -> dict[str, dict[str, Any]]:
    """Ask every router at once. Raises the first YiyunError."""
    answers = together({n: partial(h.ask, what, **arguments) for n, h in routers.items()})
    for answer in answers.values():
        if isinstance(answer, YiyunError):
            raise answer
    return answers
