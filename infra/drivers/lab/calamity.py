"""A region of a lab that is gone at once: its machines, its balancers, its object store. Premises stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab import hosts
from infra.drivers.lab.commands import run
from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.names import balancer_thing, qualified
from infra.drivers.lab.topology import stores_at

if TYPE_CHECKING:
    from infra.drivers.lab.desired import Desired
    from infra.paths import EstatePaths

KILL_SECONDS = 60.0


def things_of_region(desired: Desired) -> list[str]:
    """Everything that stands in the VPCs. Pure."""
    found: list[str] = []
    for vpc in desired.vpcs:
        found += [h.name for h in desired.hosts_in(vpc.name)]
        found += [balancer_thing(b.name) for b in desired.balancers if b.vpc == vpc.name]
        found += [s.name for s in stores_at(desired, vpc.name)]
    return found


def lose_region(paths: EstatePaths) -> list[str]:
    """Kill all of them at once, without a goodbye. `yiyun lab up` starts them again. Returns their names."""
    desired = read_desired(paths)
    names = [qualified(paths.estate, thing) for thing in things_of_region(desired)]
    alive = [name for name, c in hosts.containers(paths.estate).items() if c.alive and name in names]
    if alive:
        run(["podman", "kill", "--signal", "KILL", *alive], timeout=KILL_SECONDS)
    return sorted(alive)


def left_of_region(paths: EstatePaths) -> list[str]:
    """What of it still runs."""
    names = {qualified(paths.estate, thing) for thing in things_of_region(read_desired(paths))}
    return sorted(n for n, c in hosts.containers(paths.estate).items() if c.alive and n in names)
