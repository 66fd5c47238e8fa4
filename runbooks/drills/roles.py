"""Names that are looked up when a drill begins: which host is the writer now. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.estate.model import Estate
    from runbooks.drills.model import Drill

HOST_FIELDS = ("host", "source", "destination")
EVERYWHERE = "everywhere"


def roles_now(estate: Estate, status: Mapping[str, Any]) -> dict[str, str]:
    """Role → host; a role that nobody has is absent. `client`: where the workload runs."""
    found: dict[str, str] = {}
    writer = status["mysql"]["writer"]
    if writer:
        others = [h.name for h in estate.hosts_with("db") if h.name != writer]
        found |= {"writer": writer, **({"other-member": others[0]} if others else {})}
    apps = [h.name for h in estate.hosts_with("app")]
    found |= dict(zip(("client", "other-client"), apps, strict=False))
    if status["line"]["path"]:
        found["line-gateway"] = status["line"]["path"]
    return found


def resolved(drill: Drill, estate: Estate, roles: Mapping[str, str]) -> Drill:
    """The drill with hosts in the place of roles. Raises BadInputError for what is neither."""
    known = {h.name for h in estate.hosts}

    def host(word: str) -> str:
        name = roles.get(word, word)
        if name not in known and name != EVERYWHERE:
            hint = f"a host of the estate, or one of {', '.join(sorted(roles))}"
            raise BadInputError(f"{drill.name}: no host or role {word}", hint=hint)
        return name

    phases = tuple(
        phase.model_copy(
            update={
                "faults": tuple(
                    fault.model_copy(
                        update={f: host(getattr(fault, f)) for f in HOST_FIELDS if hasattr(fault, f)}
                    )
                    for fault in phase.faults
                )
            }
        )
        for phase in drill.method
    )
    return drill.model_copy(update={"method": phases})


def hit(drill: Drill) -> frozenset[str]:
    """Hosts whose answers do not count as recovered: those that a resolved drill breaks."""
    faults = [fault for phase in drill.method for fault in phase.faults]
    return frozenset(getattr(f, "host", None) or getattr(f, "source", "") for f in faults)
