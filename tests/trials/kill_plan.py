"""Which run of the agent is killed when, drawn from a seed; and what its traces must be. Pure."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

AGENT, GROUP = "agent", "group"
VICTIMS: dict[str, tuple[str, ...]] = {
    "save": (AGENT, GROUP, "restic"),
    "base": (AGENT, GROUP, "restic", "mysqld"),
    "copy": (AGENT, GROUP, "restic"),
    "stream": (AGENT, GROUP, "mysqlbinlog"),
    "restore": (AGENT, GROUP, "restic", "mysqld"),
}
"""Verb → its own process, its whole process group, or a program that it runs."""
BEHIND = re.compile(r"the catalogue of \S+ ends at \d+, and was at \d+")
"""One region has the newest entry and the other not yet: a backup was killed between the two."""


@dataclass(frozen=True)
class Kill:
    """One kill. `share`: of the time that the victim lives in an undisturbed run, 0 to 1."""

    number: int
    verb: str
    victim: str
    share: float


def drawn(seed: int, count: int) -> list[Kill]:
    """The kills of a seed: every pair of verb and victim before any comes again."""
    source = random.Random(seed)  # noqa: S311  a seed that can be repeated
    pairs = [(verb, victim) for verb, victims in VICTIMS.items() for victim in victims]
    order: list[tuple[str, str]] = []
    while len(order) < count:
        source.shuffle(pairs)
        order += pairs
    return [
        Kill(number, verb, victim, round(source.random(), 3))
        for number, (verb, victim) in enumerate(order[:count], 1)
    ]


def untrusted(problems: Iterable[str]) -> list[str]:
    """What a check must not say right after a kill: that something is in the catalogue and not whole."""
    return [problem for problem in problems if not BEHIND.search(problem)]


def is_good(result: dict[str, Any]) -> bool:
    """Whether a kill met its victim, and the next run put everything right."""
    return bool(result["hit"]) and not result["problems"]
