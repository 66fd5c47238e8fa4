"""The registry: how secrets of each kind are rotated. Another kind plugs in with one more entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors import BadInputError
from infra.rotation.authority import AUTHORITY, CERTIFICATE
from infra.rotation.monitored import PRE_SHARED
from infra.rotation.shared import DATABASE_ACCOUNT, FIELD_KEY, PLATFORM_ACCOUNT, SESSION_KEY
from infra.rotation.ssh import OPERATOR, SSH_HOST
from infra.rotation.tunnels import TUNNEL

if TYPE_CHECKING:
    from infra.rotation.model import Rotator

ROTATORS: dict[str, Rotator] = {
    rotator.kind: rotator
    for rotator in (
        DATABASE_ACCOUNT,
        PLATFORM_ACCOUNT,
        SESSION_KEY,
        FIELD_KEY,
        CERTIFICATE,
        AUTHORITY,
        TUNNEL,
        PRE_SHARED,
        SSH_HOST,
        OPERATOR,
    )
}


def rotator_of(kind: str) -> Rotator:
    """How a kind is rotated. Raises BadInputError for one that has no way yet."""
    if kind not in ROTATORS:
        raise BadInputError(
            f"there is no way yet to rotate secrets of the kind {kind}",
            hint=f"these can be rotated: {', '.join(sorted(ROTATORS))}",
        )
    return ROTATORS[kind]
