"""Put back what a switch left whose controller, and whose programs on the hosts, both died."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from infra.errors import YiyunError
from runbooks.database.session import together

if TYPE_CHECKING:
    from runbooks.database.ground import Hands


def repair(hands: Hands) -> list[str]:
    """Undo on every router that answers. Returns what was undone. Raises the first YiyunError."""
    answers = together({name: partial(hand.ask, "back") for name, hand in hands.routers.items()})
    said: list[str] = []
    for name, answer in answers.items():
        if isinstance(answer, YiyunError):
            raise answer
        said += [f"{name}: {line}" for line in answer["undone"]]
    return said
