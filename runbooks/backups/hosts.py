"""Which host does what for backups: derived from roles and services. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors import BadInputError, YiyunError
from infra.estate.backups import stores_of
from infra.services.backup import BACKUP, BACKUP_TRIAL
from infra.services.catalogue import services_of

if TYPE_CHECKING:
    from infra.estate.model import Estate


def agents(estate: Estate, only: str = "") -> list[str]:
    """Hosts with an agent, or the one that is named. Raises BadInputError where none runs."""
    found = [h.name for h in estate.hosts if BACKUP in services_of(h)]
    if only and only not in found:
        raise BadInputError(f"no agent runs on {only}", hint=f"one of {', '.join(found)}")
    return [only] if only else found


def base_taker(estate: Estate, only: str = "") -> str:
    """The last database host takes bases, unless another is named. Raises YiyunError without a database."""
    members = [h.name for h in estate.hosts_with("db")]
    if not members:
        raise YiyunError("this estate has no database")
    return only if only in members else members[-1]


def asker(estate: Estate) -> str:
    """Who asks the stores, and keeps holds: the operations host, else any with an agent."""
    return next((h.name for h in estate.hosts_with("ops")), agents(estate)[0])


def restorer(estate: Estate) -> str:
    """Who brings databases back. Raises YiyunError for an estate without such a host."""
    for host in estate.hosts:
        if BACKUP_TRIAL in services_of(host):
            return host.name
    raise YiyunError("no host of this estate brings databases back", hint="role ops")


def far_region(estate: Estate) -> str:
    """The region that is left when the near one is gone."""
    return stores_of(estate)[-1][0]
