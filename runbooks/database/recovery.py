"""What to do when no group serves: after a loss of power, or when most members are gone for good. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.errors import BadInputError, RefusedError
from runbooks.database.picture import transactions_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from runbooks.database.picture import Member, Picture

ALIVE_PORTS = (22, 3306, 33061)
"""A member's host that takes a connection at one of these is not lost."""


@dataclass(frozen=True)
class RecoverPlan:
    """`judge`: the member whose program does it. `lost`: members that are given up.

    `harmless`: nothing can be lost by it, so nobody needs to be asked.
    """

    judge: str
    lost: tuple[str, ...]
    harmless: bool
    could_lose: tuple[str, ...]


def plan_recovery(
    picture: Picture,
    hosts_up: Collection[str],
    without: Collection[str],
    reached: Mapping[str, Collection[str]],
) -> RecoverPlan:
    """What the group's program may be told to do.

    `hosts_up`: hosts that answer by SSH. `without`: members an operator gives up. `reached`: silent member →
    hosts that still reach it. Raises BadInputError for a name that is no member, RefusedError with what next.
    """
    names = [m.name for m in picture.members]
    unknown = [name for name in without if name not in names]
    if unknown:
        raise BadInputError(f"no member {unknown[0]}", hint=f"one of {', '.join(names)}")
    answering = [m for m in picture.members if m.answers]
    if not answering:
        raise RefusedError("no member answers", hint="start their hosts first; then yiyun db recover")
    serving = [m for m in answering if m.serves]
    silent = [m.name for m in picture.members if not m.answers]
    if serving:
        return RecoverPlan(serving[0].name, (), True, ())
    alive = sorted(set(without) - set(silent))
    if alive:
        raise RefusedError(f"{', '.join(alive)} answers: it is not lost", hint="without --without for it")
    if not silent:
        return RecoverPlan(answering[0].name, (), True, ())
    unnamed = [name for name in silent if name not in without]
    if unnamed:
        raise RefusedError(_explain(picture, unnamed, silent), hint=_command(silent))
    against = list(_signs_of_life(picture, silent, hosts_up, reached))
    if against:
        raise RefusedError(
            f"a lost member may be alive, and two groups would serve: {'; '.join(against)}",
            hint="end it first (power off, detach its network), or let it join again",
        )
    return RecoverPlan(_fullest(answering).name, tuple(silent), False, tuple(could_lose(picture, silent)))


def could_lose(picture: Picture, lost: Collection[str]) -> Iterator[str]:
    """What giving up members can cost, in sentences."""
    for member in (m for m in picture.members if m.answers):
        held = ",".join(s for s in (member.executed, member.received) if s)
        lacks = f", and lacks {transactions_in(member.missing)} of another survivor" if member.missing else ""
        yield f"{member.name} holds {held or 'no transaction'}{lacks}"
    named = ", ".join(sorted(lost))
    yield f"lost for good: what {named} acknowledged after the survivors heard of it for the last time"
    held_by = {r.name: r.writer for r in picture.routers if r.answers}
    away = sorted(router for router, writer in held_by.items() if writer in lost)
    if away:
        yield f"the router on {', '.join(away)} last led to a lost member: the newest commits may be gone"
    elif held_by:
        yield "no router that answers led to a lost member"


def silent_targets(
    picture: Picture, addresses: Mapping[str, str], ports: Collection[int] = ALIVE_PORTS
) -> dict[str, list[tuple[str, int]]]:
    """Silent member → where signs of life are looked for."""
    return {m.name: [(addresses[m.name], port) for port in ports] for m in picture.members if not m.answers}


def _signs_of_life(
    picture: Picture,
    silent: Collection[str],
    hosts_up: Collection[str],
    reached: Mapping[str, Collection[str]],
) -> Iterator[str]:
    routers = [r for r in picture.routers if r.answers]
    if not routers:
        yield "no router answers, so nobody can say whom clients reach"
    for name in silent:
        if name in hosts_up:
            yield f"the host {name} answers by SSH (systemctl start mysql there)"
        for router in routers:
            if router.status.get(name, "").startswith("UP") or router.sessions.get(name):
                yield f"the router on {router.name} reaches {name}"
        if reached.get(name):
            yield f"{', '.join(sorted(reached[name]))} can connect to {name}"


def _fullest(answering: Collection[Member]) -> Member:
    """One that lacks nothing another answering member has, where there is one."""
    return min(answering, key=lambda m: transactions_in(m.missing))


def _explain(picture: Picture, unnamed: Collection[str], silent: Collection[str]) -> str:
    why = "; ".join(f"{m.name}: {m.problem}" for m in picture.members if m.name in unnamed)
    return (
        f"no group serves, and {', '.join(unnamed)} does not answer and may hold more ({why})."
        f" Giving up {', '.join(silent)} could cost: {'; '.join(could_lose(picture, silent))}"
    )


def _command(silent: Collection[str]) -> str:
    words = " ".join(f"--without {name}" for name in silent)
    return f"start them; only when they are gone for good: yiyun db recover {words} --yes"
