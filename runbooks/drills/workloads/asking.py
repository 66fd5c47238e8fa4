"""Asking until it is acknowledged, as the collector and a hospital's sender do with each message."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.drills.evidence.history import Operation, Outcome
from runbooks.drills.workloads.elements import element_of
from runbooks.drills.workloads.pacing import paced

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from runbooks.drills.workloads.pacing import Pace

PATIENCE_SECONDS = 120.0
"""How long one message is asked for: longer than any shipped drill's fault and way back. A real sender never
gives up; an operation without an end would say nothing."""


@dataclass(frozen=True)
class Try:
    """What became of one request. `fail`: certainly nothing was stored by it."""

    outcome: Outcome
    member: str = ""
    error: str = ""
    again: bool = False
    """Whether it is to be asked again."""
    away: bool = False
    """Nobody was there, which says nothing of the message: no reason for it to wait longer each time."""


@dataclass(frozen=True)
class Asked:
    """What became of one message in all its tries."""

    outcome: Outcome
    member: str
    error: str
    """Of the first try that was not met with."""
    tries: int


def summed(tries: Sequence[Try]) -> Asked:
    """The tries of one message as one answer. Pure.

    One try that may have been stored leaves it unknown, whatever the tries after it said, until one of them
    is acknowledged. A message that was never sent, because it was to end first, is a failure.
    """
    error = next((t.error for t in tries if t.outcome != "ok"), "" if tries else "it was not sent any more")
    count = max(1, len(tries))
    if tries and tries[-1].outcome == "ok":
        return Asked("ok", tries[-1].member, error, count)
    unknown = any(t.outcome == "unknown" for t in tries)
    return Asked("unknown" if unknown else "fail", "", error, count)


def persist(
    ask: Callable[[], Sequence[Try]],
    pause: Callable[[Sequence[Try], int], float],
    patience: float,
    stopped: threading.Event,
) -> Asked:
    """Ask until there is an answer that stays, for `patience` seconds at most.

    A stop lets the try under way end. `ask`: one round of tries, none when nobody may be asked just now.
    `pause`: seconds to wait after a round, and how many so far were met by somebody who did not serve it.
    """
    until, rounds, tries = time.monotonic() + patience, 0, list[Try]()
    while True:
        fresh = ask()
        tries += fresh
        rounds += bool(fresh) and not fresh[-1].away
        left = until - time.monotonic()
        if (fresh and not fresh[-1].again) or left <= 0:
            return summed(tries)
        if stopped.wait(min(left, pause(fresh, rounds))):
            return summed(tries)


class Sender(ABC):
    """One client: sends its own resident's results one after the other, each until it is acknowledged."""

    def __init__(self, pace: Pace, number: int, note: Callable[[Operation], None], patience: float) -> None:
        self.pace, self.number, self.note, self.patience = pace, number, note, patience

    def run(self, began: float, stopped: threading.Event) -> None:
        """Every message at its due moment or as soon after as the one before has ended."""
        paced(self.pace, self.number, began, stopped, lambda n, due: self.one(n, due, stopped))

    def one(self, number: int, due: float, stopped: threading.Event) -> None:
        """One message and its line in the history."""
        began = time.monotonic()
        element = element_of(self.number, number)
        found = persist(self.message(element), self.pause, self.patience, stopped)
        self.note(
            Operation(
                client=self.number,
                number=number,
                kind="append",
                target=f"list-{self.number}",
                value=element,
                intended=due,
                began=began,
                ended=time.monotonic(),
                outcome=found.outcome,
                member=found.member,
                error=found.error,
                tries=found.tries,
            )
        )

    @abstractmethod
    def message(self, element: int) -> Callable[[], Sequence[Try]]:
        """What sends one element, by one round of tries a call; the same bytes each time."""

    @abstractmethod
    def pause(self, fresh: Sequence[Try], rounds: int) -> float:
        """Seconds to wait after a round; `rounds`: so many were met by somebody who did not serve it."""
