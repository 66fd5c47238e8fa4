"""Put back what a switch left whose controller, and whose programs on the hosts, both died.

And settle routers that lead to different members for good: they tell each other what they hold only when a
session comes, and not at all while the connection between them is gone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from infra.errors import YiyunError
from runbooks.database.session import together
from runbooks.database.switching import BUSY_SECONDS, GATE_SECONDS

if TYPE_CHECKING:
    from runbooks.database.ground import Hands
    from runbooks.database.picture import Picture


def repair(hands: Hands) -> list[str]:
    """Undo on every router that answers, then settle them. Returns what was done. Raises YiyunError."""
    answers = together({name: partial(hand.ask, "back") for name, hand in hands.routers.items()})
    said: list[str] = []
    for name, answer in answers.items():
        if isinstance(answer, YiyunError):
            raise answer
        said += [f"{name}: {line}" for line in answer["undone"]]
    return said + _settle(hands)


def common_writer(picture: Picture) -> str | None:
    """The member that routers which differ may all lead to: held by one, may write, UP at each. Pure."""
    answering = [r for r in picture.routers if r.answers]
    ready = {m.name for m in picture.members if m.ready}
    for router in answering:
        name = router.writer
        if name in ready and all(r.status.get(name, "").startswith("UP") for r in answering):
            return name
    return None


def _settle(hands: Hands) -> list[str]:
    """Lead the routers that differ to one member, each under its own closed gate."""
    seen = hands.look()
    writer = common_writer(seen)
    apart = {r.name: r.writer for r in seen.routers if writer and r.answers and r.writer != writer}
    for name in apart:
        router = hands.routers[name]
        router.ask("close", closed_s=GATE_SECONDS, limit=BUSY_SECONDS)
        try:
            router.ask("turn", to=writer)
        finally:
            router.ask("open", discard=True)
    return [
        f"{name}: it led to {old}, and leads to {writer} now, as the others" for name, old in apart.items()
    ]
