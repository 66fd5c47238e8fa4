"""What the second wall must stop: the first packets that an open fabric would deliver to a host. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from infra.estate.addresses import host_addresses
from infra.estate.matrix import source_address
from infra.estate.plan import network_of
from infra.estate.wall import wall_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from infra.estate.matrix import Check
    from infra.estate.model import Estate
    from infra.verify.verdicts import Key, Tap

Wanted = dict[tuple[str, str], dict["Key", "Check"]]
"""(network, host) → first packets and the check each stands for."""


def past_the_fabric(estate: Estate, checks: Iterable[Check]) -> Wanted:
    """First packets that no host may let in.

    Left to the ordinary probe: what comes by the tunnel, and machines that exist already. No fabric stands
    before those, so the probe meets their own wall.
    """
    addresses = host_addresses(estate)
    walls = {h.name: wall_of(estate, h) for h in estate.hosts if not h.exists}
    networks = {h.name: network_of(estate, h) for h in estate.hosts}
    found: Wanted = {}
    for check in checks:
        source, to = source_address(estate, check), check.destination
        if to not in walls:  # or an endpoint of the provider's: no firewall of ours there
            continue
        if check.route == "line" or walls[to].admits(IPv4Address(source), check.protocol, check.port):
            continue
        key = source, str(addresses[to]), check.protocol, check.port
        found.setdefault((networks[to], to), {})[key] = check
    return found


def let_in(wanted: Wanted, taps: Mapping[str, Tap]) -> tuple[list[Check], list[Check]]:
    """(checks that the host's own firewall let in, checks whose packet never arrived)."""
    passed: list[Check] = []
    lost: list[Check] = []
    for (_, host), keys in wanted.items():
        for key, check in keys.items():
            if key in taps[host].passed:
                passed.append(check)
            elif key not in taps[host].seen:
                lost.append(check)
    return passed, lost
