"""What every TLS door of the estate must prove; shared by the suites of those that have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

DAY_S = 86400
REFUSALS = frozenset({400, 401, 403, 421, 496})
"""Nginx says 400 to a client without the certificate it wants (its own code for that is 496)."""
MIN_DAYS_LEFT = 14
MAX_DAYS = 91
"""Leaves live 90 days (`infra.trust.authority.LEAF_DAYS`); one that lives longer is not ours."""


def knocked(on: Machine, door: str) -> dict[str, Any]:
    """What the door answered; fails the check when the handshake did not verify."""
    answer = dict(on.facts["doors"][door])
    assert not answer["error"] or answer["version"], f"{door}: {answer['error']}"
    return answer


def assert_good_tls(on: Machine, door: str) -> None:
    """TLS 1.2 or later, a leaf of the estate's own authority for this host, short and not about to end."""
    answer = knocked(on, door)
    assert answer["version"] in {"TLSv1.2", "TLSv1.3"}, answer["version"]
    days = (answer["not_after"] - on.facts["now"]) / DAY_S
    assert MIN_DAYS_LEFT < days < MAX_DAYS, f"the certificate ends in {days:.0f} days"
    assert "estate authority" in answer["issuer"], answer["issuer"]
    assert not on.facts["weak_tls"][door], f"{door} accepts {on.facts['weak_tls'][door]}"


def assert_refused(on: Machine, door: str) -> None:
    """Somebody spoke TLS there, and did not let us in."""
    answer = on.facts["doors"][door]
    assert answer["version"] or "SSL" in answer["error"], (
        f"{door}: nobody speaks TLS there: {answer['error']}"
    )
    assert answer["error"] or answer["status"] in REFUSALS, f"{door} answered {answer['status']}"
