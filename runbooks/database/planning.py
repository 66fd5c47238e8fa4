"""What a switch, a replacement and an upgrade may do, from a picture, and all that forbids it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.errors import BadInputError, RefusedError
from runbooks.database.picture import transactions_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks.database.picture import Member, Picture

LONG_SECONDS = 1.0
"""A transaction that has been open for longer will not end within the gate's limit."""
QUEUE_LIMIT = 1000
"""A member with more to apply is not caught up within the gate's time (thousands a second: lab-facts)."""
ROOM = 1.3
"""A copy needs the donor's bytes and its own logs while it catches up."""


@dataclass(frozen=True)
class SwitchPlan:
    """From one member to another. `elected`: the group itself must make it the primary."""

    old: str
    to: str
    elected: bool
    to_uuid: str


def plan_switch(picture: Picture, to: str | None = None) -> SwitchPlan:
    """The switch to `to`, else to the first member that may be the writer.

    Raises BadInputError for a name that is no member, RefusedError with every reason against it.
    """
    names = [m.name for m in picture.members]
    if to is not None and to not in names:
        raise BadInputError(f"no member {to}", hint=f"one of {', '.join(names)}")
    old = picture.writer
    if old is None:
        raise _refused("there is no one writer to switch from", ["the routers do not agree, see db status"])
    if to == old:
        raise _refused(f"{to} is the writer already", [])
    against = list(_against_any(picture, old))
    if to is None:
        fit = [n for n in names if n != old and not list(_against(picture, n))]
        if not fit:
            each = [r for n in names if n != old for r in _against(picture, n)]
            raise _refused("no member can take the writer's place", [*against, *each])
        to = fit[0]
    against += _against(picture, to)
    if against:
        raise _refused(f"not to {to} now", against)
    return SwitchPlan(old, to, picture.single_primary, picture.member(to).uuid)


def check_switch(picture: Picture) -> dict[str, object]:
    """Whether a switch would be safe now, to which member, and if not, why not."""
    try:
        plan = plan_switch(picture)
    except RefusedError as error:
        return {"safe": False, "to": None, "reason": error.message}
    return {"safe": True, "to": plan.to, "reason": ""}


def _against_any(picture: Picture, old: str) -> Iterator[str]:
    for router in picture.routers:
        if router.left:
            yield f"an earlier switch is not undone on {router.name}: yiyun db status --repair"
    for busy in picture.member(old).busy:
        if busy.seconds > LONG_SECONDS:
            yield (
                f"{busy.user} on {busy.host} has had a transaction open for {busy.seconds:.1f} s"
                f" (session {busy.id} of {old}): let it end"
            )


def _against(picture: Picture, to: str) -> Iterator[str]:
    member = picture.member(to)
    if not member.serves:
        yield f"{to} is {member.state}" if member.answers else f"{to} does not answer"
        return
    # Of a group with one primary only that one may write: its agent, and so the routers, call no other ready.
    if not picture.single_primary:
        if not member.ready:
            yield f"{to} may not be the writer: {'; '.join(member.reasons)}"
        for router in picture.routers:
            if not router.status.get(to, "").startswith("UP"):
                yield f"{to} is {router.status.get(to, 'unknown')} for the router on {router.name}"
    if member.apply_queue + member.certify_queue > QUEUE_LIMIT:
        yield f"{to} has {member.apply_queue + member.certify_queue} transactions to apply"


@dataclass(frozen=True)
class ReplacePlan:
    """Rebuild one member's data. `own`: transactions that only it holds, as a GTID set."""

    member: str
    donors: tuple[str, ...]
    own: str


def plan_replace(picture: Picture, name: str, *, lose_its_own: bool = False) -> ReplacePlan:
    """The replacement of a member's data by another's.

    `lose_its_own`: give up transactions that no other member holds. Raises BadInputError, RefusedError.
    """
    names = [m.name for m in picture.members]
    if name not in names:
        raise BadInputError(f"no member {name}", hint=f"one of {', '.join(names)}")
    if any(r.writer == name for r in picture.routers if r.answers):
        raise RefusedError(f"{name} is the writer", hint="yiyun db switch, then again")
    if not picture.routers or not all(r.answers for r in picture.routers):
        raise RefusedError(
            "not every router answers: whether it is the writer is not known", hint="yiyun status"
        )
    others = [m for m in picture.members if m.name != name]
    donors = tuple(m.name for m in others if m.serves and (m.ready or m.single_primary))
    if len(donors) < picture.majority:
        against = [f"{m.name} is not ready" for m in others if m.name not in donors]
        raise _refused(
            f"without {name} only {len(donors)} of {len(names)} members would serve,"
            f" {picture.majority} are needed",
            against,
        )
    own = _only_here(picture, name)
    if own and not lose_its_own:
        raise RefusedError(
            f"{name} holds {transactions_in(own)} transaction(s) that no other member has: {own}",
            hint="look at them first (mysqlbinlog); --lose-its-own gives them up",
        )
    return ReplacePlan(name, donors, own)


def _only_here(picture: Picture, name: str) -> str:
    """What would be gone with it. Of a member in the group it is on its way to the others."""
    member = picture.member(name)
    return "" if member.serves else member.only


def room_is_enough(free: int, donor_bytes: int, own_bytes: int, *, keep: bool) -> bool:
    """Whether a copy fits a disk. `keep`: the present data stays beside it until the copy is proven."""
    return (free if keep else free + own_bytes) > donor_bytes * ROOM


def upgrade_order(picture: Picture) -> tuple[str, ...]:
    """Every member once, the writer last. Raises RefusedError unless all serve and agree on the writer."""
    out = [f"{m.name} is {m.state}" for m in picture.members if not m.serves]
    if out:
        raise _refused("every member must be ONLINE before one is taken away", out)
    if picture.writer is None:
        raise _refused("the routers do not agree on one writer", [])
    if len(picture.members) < 3:
        raise _refused("with fewer than three members none can be spared", [])
    others = tuple(m.name for m in picture.members if m.name != picture.writer)
    return (*others, picture.writer)


def is_back(member: Member, picture: Picture) -> str:
    """Why a restarted member does not count as back yet; empty when it does."""
    if not member.serves:
        return f"{member.name} is {member.state}"
    if any(m.view.get(member.name) != "ONLINE" for m in picture.members if m.serves):
        return "another member does not see it ONLINE"
    if member.apply_queue:
        return f"{member.apply_queue} transactions to apply"
    if not member.ready and not member.single_primary:
        return "; ".join(member.reasons) or "its health agent is not ready"
    return ""


def _refused(what: str, reasons: list[str]) -> RefusedError:
    text = what + (": " + "; ".join(reasons) if reasons else "")
    return RefusedError(text, hint="yiyun db status shows members and routers")
