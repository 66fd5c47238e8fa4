"""Which run is killed when, drawn from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Verb = Literal["up", "lab stop", "lab up", "destroy"]
Victim = Literal["command", "engine", "playbook", "group"]

WEIGHTS: dict[Verb, int] = {"up": 4, "lab up": 3, "lab stop": 2, "destroy": 1}
"""How often each verb is drawn; `destroy` is rare because building again takes minutes."""
WORDS: dict[Verb, tuple[str, ...]] = {
    "up": ("up", "--full", "--yes"),
    "lab up": ("lab", "up", "--yes"),
    "lab stop": ("lab", "stop"),
    "destroy": ("destroy", "--yes"),
}
"""How each verb is called. `--full`: every role runs, so that a kill meets work."""
VICTIMS: dict[Verb, tuple[Victim, ...]] = {
    "up": ("command", "engine", "playbook", "group"),
    "lab up": ("command", "playbook", "group"),
    "lab stop": ("command", "group"),
    "destroy": ("command", "engine", "group"),
}
"""What can be killed while a verb runs. The provider lives in the command's own process."""


@dataclass(frozen=True)
class Kill:
    """One kill. `moment`: share of the time the victim usually lives during that verb, 0 to 1."""

    number: int
    verb: Verb
    victim: Victim
    moment: float


def draw(seed: int, count: int) -> tuple[Kill, ...]:
    """`count` kills; the same seed gives the same."""
    source = random.Random(seed)  # noqa: S311  a seed that can be repeated is the point
    kills: list[Kill] = []
    for number in range(1, count + 1):
        (verb,) = source.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        kills.append(Kill(number, verb, source.choice(VICTIMS[verb]), round(source.random(), 3)))
    return tuple(kills)
