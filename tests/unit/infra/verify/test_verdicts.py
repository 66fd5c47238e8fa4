from __future__ import annotations

import pytest

from infra.estate.loading import load_estate
from infra.estate.matrix import Check, expected_matrix
from infra.verify.agent import NOT_SENT, OPEN, REFUSED, SILENT
from infra.verify.verdicts import Tap, Verdict, agrees, judge, undecided

KEY = ("10.20.1.10", "10.20.2.10", "tcp", 3306)
OTHER = ("10.20.1.10", "10.20.2.10", "udp", 3306)
CHECKS = expected_matrix(load_estate("lab")).checks
PERMITTED = next(c for c in CHECKS if c.permitted and c.route == "fabric")
DENIED = next(c for c in CHECKS if not c.permitted and c.route == "fabric")
LINE = next(c for c in CHECKS if c.route == "line")
NOTHING = Tap(frozenset({OTHER}), frozenset({OTHER}))
SEEN = Tap(frozenset({KEY}), frozenset())
PASSED = Tap(frozenset({KEY}), frozenset({KEY}))


@pytest.mark.parametrize(
    ("end", "tap", "verdict"),
    [
        (OPEN, PASSED, "open"),
        (OPEN, NOTHING, "open"),
        (REFUSED, PASSED, "refused"),
        (SILENT, PASSED, "dropped by the host"),
        (SILENT, SEEN, "dropped by the fabric"),
        (REFUSED, SEEN, "dropped by the fabric"),
        (SILENT, NOTHING, "never left the source"),
        (NOT_SENT, NOTHING, "never left the source"),
        (OPEN, None, "open"),
        (REFUSED, None, "refused"),
        (SILENT, None, "no answer"),
        (NOT_SENT, None, "never left the source"),
    ],
)
def test_verdict(end: str, tap: Tap | None, verdict: Verdict) -> None:
    assert judge(DENIED, KEY, end, tap) == verdict


def test_what_never_comes_out_of_the_tunnel_is_dropped_on_the_line() -> None:
    assert judge(LINE, KEY, SILENT, NOTHING) == "dropped on the line"


@pytest.mark.parametrize("verdict", ["open", "refused", "dropped by the host"])
def test_a_denied_port_that_came_through_the_fabric_is_a_difference_whatever_the_host_did(
    verdict: Verdict,
) -> None:
    assert not agrees(DENIED, verdict)


@pytest.mark.parametrize("verdict", ["dropped by the fabric", "never left the source", "no answer"])
def test_a_denied_port_that_did_not_come_through_is_as_declared(verdict: Verdict) -> None:
    assert agrees(DENIED, verdict)


@pytest.mark.parametrize(
    ("verdict", "as_declared"),
    [("open", True), ("refused", False), ("dropped by the host", False), ("dropped by the fabric", False)],
)
def test_a_permitted_port_must_be_open_to_the_end(verdict: Verdict, as_declared: bool) -> None:
    assert agrees(PERMITTED, verdict) is as_declared


@pytest.mark.parametrize(
    ("check", "verdict", "nothing_proved"),
    [
        (DENIED, "never left the source", True),
        (DENIED, "dropped by the fabric", False),
        (PERMITTED, "never left the source", False),
        (LINE, "never left the source", False),
    ],
)
def test_a_sources_own_firewall_leaves_the_fabric_undecided(
    check: Check, verdict: Verdict, nothing_proved: bool
) -> None:
    assert undecided(check, verdict) is nothing_proved
