"""What a probe proved: the ends' answers and the fabric's counters together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from infra.verify.agent import NOT_SENT, OPEN, REFUSED, UNREACHABLE

if TYPE_CHECKING:
    from infra.estate.matrix import Check
    from infra.services.model import Protocol

Key = tuple[str, str, str, int]
"""Source address, destination address, protocol, destination port of a connection's first packet."""

Verdict = Literal[
    "open",
    "refused",
    "dropped by the host",
    "dropped by the fabric",
    "dropped on the line",
    "never left the source",
    "no answer",
    "let in by the host",
]
"""open: it answered. refused: it came through, and the host said no. dropped by the host: it came through
the fabric, and nothing answered. dropped on the line: it never came out of the tunnel. no answer: without
counters nobody can say who dropped it. let in by the host: put on its wire past the fabric, it was not
dropped by the host's own firewall."""

CAME_THROUGH: frozenset[Verdict] = frozenset({"open", "refused", "dropped by the host"})
"""The fabric let it pass, whatever the host did then."""


@dataclass(frozen=True)
class Try:
    """One connection to attempt."""

    address: str
    port: int
    protocol: Protocol
    source: str = ""
    """Own address to send from; empty = as the host routes."""


@dataclass(frozen=True)
class Tap:
    """What a router counted: connections before its filter, and after it."""

    seen: frozenset[Key] = field(default_factory=frozenset[Key])
    passed: frozenset[Key] = field(default_factory=frozenset[Key])


def judge(check: Check, key: Key, end: str, tap: Tap | None) -> Verdict:
    """What happened to a probe.

    `end`: what the source saw (`infra.verify.agent`). `tap`: counters of the router that decides this check,
    or None where only the ends can be asked. A silent end never hides an open fabric: what passed the filter
    has passed.
    """
    if end == OPEN:
        return "open"
    if tap is None:
        return "refused" if end == REFUSED else "never left the source" if end == NOT_SENT else "no answer"
    if key in tap.passed:
        return "refused" if end == REFUSED else "dropped by the host"
    if key in tap.seen:
        return "dropped by the fabric"
    if end == REFUSED:
        return "refused"
    if check.route == "line":
        return "dropped on the line"
    if check.route == "apart" and end == UNREACHABLE:
        return "dropped by the fabric"
    return "never left the source"


def agrees(check: Check, verdict: Verdict) -> bool:
    """True when the verdict is what the estate expects.

    Permitted means open to the very end: a listener was there. Denied means that nothing came through.
    """
    return verdict == "open" if check.permitted else verdict not in CAME_THROUGH


def undecided(check: Check, verdict: Verdict) -> bool:
    """True when a denied probe stopped before the filter that should stop it, so nothing was proved."""
    return not check.permitted and verdict == "never left the source" and check.route != "line"
