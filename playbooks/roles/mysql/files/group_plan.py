"""What to do with a MySQL group, from what its members say: pure, no effect.

The rule that matters: a group is bootstrapped only when no member serves, and only on a member that holds
everything any other member holds. Whoever is silent may hold an acknowledged transaction, so a silent member
stops a bootstrap, unless the group has never held anything and a majority is here, or an operator names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    Contains = Callable[[str, str], bool]

Action = Literal["none", "bootstrap", "join", "force", "stop", "wait", "refuse"]

PRESENT = ("ONLINE", "RECOVERING")


@dataclass(frozen=True)
class Seen:
    """How one member answered: its own state, its view of the group, and the transactions it holds."""

    name: str
    answered: bool = True
    state: str = "OFFLINE"
    view: tuple[tuple[str, str], ...] = ()
    """(member, state) for every member of the group as this one sees it."""
    gtids: str = ""
    """Executed and received transactions, as one GTID set; empty for a fresh member."""
    problem: str = ""
    """Why it did not answer."""

    @property
    def online(self) -> frozenset[str]:
        """Members that this one sees ONLINE."""
        return frozenset(name for name, state in self.view if state == "ONLINE")

    @property
    def has_quorum(self) -> bool:
        """Whether it sees more than half of its group present."""
        present = sum(state in PRESENT for _, state in self.view)
        return 2 * present > len(self.view)

    @property
    def serves(self) -> bool:
        """Whether it says that it is a working member of a group that can decide."""
        return self.answered and self.state == "ONLINE" and self.has_quorum


@dataclass(frozen=True)
class Plan:
    """The next step: an action, the members it is done on, and why."""

    action: Action
    members: tuple[str, ...] = ()
    reason: str = ""


def make_plan(members: Sequence[Seen], contains: Contains, without: Collection[str] = ()) -> Plan:
    """The next step towards one group of all members.

    `members`: every configured member, in order of preference. `without`: silent members whose
    transactions the operator gives up for a bootstrap. `contains(whole, part)`: whether the GTID set `whole`
    holds every transaction of `part`.
    """
    serving = [m for m in members if m.serves]
    if serving:
        return _plan_of_serving(serving, members)
    silent = [m for m in members if not m.answered and m.name not in without]
    answering = [m for m in members if m.answered]
    if any(m.state == "RECOVERING" and m.has_quorum for m in answering):
        return Plan("wait", reason="a group is forming")
    blocked = tuple(m.name for m in answering if m.state in PRESENT)
    if blocked and silent:
        return Plan("refuse", reason=f"quorum is lost: {_list(blocked)} wait(s) for {_why_silent(silent)}")
    if blocked:
        return _plan_of_blocked([m for m in answering if m.state in PRESENT], answering, contains)
    return _plan_of_stopped(answering, silent, len(members), contains)


def _plan_of_serving(serving: Sequence[Seen], members: Sequence[Seen]) -> Plan:
    first = serving[0]
    apart = [m.name for m in serving if m.name not in first.online and first.name not in m.online]
    if apart:
        return Plan(
            "refuse", reason=f"two groups serve at once: one with {first.name}, one with {_list(apart)}"
        )
    if any(m.online != first.online for m in serving):
        return Plan("wait", reason="members do not agree on the group yet")
    out = [m.name for m in members if m.answered and m.state not in PRESENT]
    # A join beside its own former self is not refused but hangs for a minute: the group expels that first.
    listed = {name for name, _ in first.view}
    joining = tuple(name for name in out if name not in listed)
    if joining:
        return Plan("join", joining, f"a group serves on {_list(sorted(first.online))}")
    if out:
        return Plan("wait", reason=f"the group has not expelled the former {_list(out)} yet")
    if any(m.answered and not m.serves for m in members):
        return Plan("wait", reason="a member is catching up")
    silent = [m for m in members if not m.answered]
    return Plan("none", reason=f"missing: {_why_silent(silent)}" if silent else "every member is ONLINE")


def _plan_of_blocked(blocked: Sequence[Seen], answering: Sequence[Seen], contains: Contains) -> Plan:
    """Every member answers, so those that wait for a quorum are all that is left of the group."""
    names = tuple(m.name for m in blocked)
    complete = any(all(contains(m.gtids, other.gtids) for other in answering) for m in blocked)
    if complete and all(m.state == "ONLINE" for m in blocked):
        return Plan("force", names, "quorum is lost, the others are out: who is left goes on as the group")
    return Plan("stop", names, "quorum is lost, and others hold more: the group is formed anew")


def _plan_of_stopped(
    answering: Sequence[Seen], silent: Sequence[Seen], configured: int, contains: Contains
) -> Plan:
    fresh = all(not m.gtids for m in answering)
    if silent and not (fresh and 2 * len(answering) > configured):
        held = "none of the others holds data, but they are no majority" if fresh else "it may hold more"
        return Plan("refuse", reason=f"no group serves, and {_why_silent(silent)} ({held})")
    if not answering:
        return Plan("refuse", reason="no member answers")
    best = next((m for m in answering if all(contains(m.gtids, other.gtids) for other in answering)), None)
    if best is None:
        held = "; ".join(f"{m.name} holds {m.gtids or 'nothing'}" for m in answering)
        return Plan("refuse", reason=f"the members' transactions diverged, none holds them all: {held}")
    return Plan("bootstrap", (best.name,), "fresh" if fresh else "it holds every transaction of the others")


def _list(names: Collection[str]) -> str:
    return ", ".join(names)


def _why_silent(silent: Sequence[Seen]) -> str:
    return ", ".join(f"{m.name} does not answer ({m.problem or 'no reason known'})" for m in silent)
