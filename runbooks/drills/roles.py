"""Names that are looked up when a drill begins: which host is the writer now. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from infra.errors import BadInputError
from runbooks.drills.faults.targets import must_fit
from runbooks.drills.kinds import ALL, EVERYWHERE, with_hosts
from runbooks.drills.model import Drill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.estate.model import Estate
    from runbooks.drills.rehearsal import Loss, Rehearsal

HOST_FIELDS = {"host": "", "source": "", "destination": EVERYWHERE, "gateway": ALL}
"""Fields of faults that name a host or a role → the one word that may stand there instead."""
MEMBERS = ("other-member", "third-member")
CLIENTS = ("client", "other-client")
OF_ROLE = {"ops": "ops", "edge": "edge", "premises": "hospital"}
"""Role of a drill → role of the estate, of which the first host is meant."""


def roles_now(estate: Estate, status: Mapping[str, Any]) -> dict[str, str]:
    """Role → host; a role that nobody has is absent.

    `client`: the app host where the workload runs; `backend`: an app host behind the balancer, one that is
    not the line's gateway where there is a choice; `premises`: the hospital's own system.
    """
    found: dict[str, str] = {}
    writer, path = status["mysql"]["writer"], status["line"]["path"]
    if writer:
        others = [h.name for h in estate.hosts_with("db") if h.name != writer]
        found |= {"writer": writer, **dict(zip(MEMBERS, others, strict=False))}
    apps = [h.name for h in estate.hosts_with("app")]
    found |= dict(zip(CLIENTS, apps, strict=False))
    plain = [h.name for h in estate.hosts_with("app") if "gateway" not in h.roles]
    found |= dict(zip(("backend",), [*plain, *apps], strict=False))
    if path:
        others = [name for name in (estate.line.gateways if estate.line else ()) if name != path]
        found |= {"line-gateway": path, **dict(zip(("other-gateway",), others, strict=False))}
    firsts = {name: estate.hosts_with(role)[:1] for name, role in OF_ROLE.items()}
    found |= {name: hosts[0].name for name, hosts in firsts.items() if hosts}
    return found


def resolved(drill: Drill, estate: Estate, roles: Mapping[str, str]) -> Drill:
    """The drill with hosts in the place of roles.

    Raises BadInputError for what is neither, for two roles that make the same fault twice, and for a fault
    of something that the estate has not.
    """
    known = {h.name for h in estate.hosts}

    def host(word: str, instead: str) -> str:
        name = roles.get(word, word)
        if name not in known and (not instead or name != instead):
            hint = f"a host of the estate, or one of {', '.join(sorted(roles))}"
            raise BadInputError(f"{drill.name}: no host or role {word}", hint=hint)
        return name

    document = drill.model_dump()
    for phase, written in zip(drill.method, document["method"], strict=True):
        written["faults"] = [
            with_hosts(
                fault,
                {f: host(getattr(fault, f), word) for f, word in HOST_FIELDS.items() if hasattr(fault, f)},
            )
            for fault in phase.faults
        ]
    try:
        concrete = Drill.model_validate(document)
    except ValidationError as error:
        raise BadInputError(
            f"{drill.name}: {error.errors()[0]['msg']}", hint="two of its roles are one host now"
        ) from None
    for fault in concrete.faults:
        must_fit(fault, estate)
    return concrete


def hit(drill: Drill | Rehearsal | Loss) -> frozenset[str]:
    """Hosts whose answers do not count as recovered, as each kind of a resolved drill's faults says.

    Empty: the service may go on by the same way, and recovery begins after its last trouble.
    """
    return frozenset[str]().union(*(fault.breaks() for fault in drill.faults))
