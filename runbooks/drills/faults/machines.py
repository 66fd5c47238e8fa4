"""Faults of a whole host: it stands still, or is gone without a goodbye."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.commands import run
from infra.drivers.lab.hosts import containers
from infra.drivers.lab.names import qualified
from infra.drivers.lab.realise import realise
from runbooks.drills.faults import cgroups
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import HostFrozen, HostLost

FREEZER = {1: ("freezer.state", "FROZEN", "THAWED"), 2: ("cgroup.freeze", "1", "0")}
"""Version of the control groups → file, what stands in it of a frozen group, and of one that runs."""


def _frozen_order(fault: HostFrozen, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host}


def _frozen_inject(fault: HostFrozen, place: Place) -> None:
    run(["podman", "pause", qualified(place.paths.estate, fault.host)])


def _frozen_bites(fault: HostFrozen, place: Place) -> bool:
    return _state(place, fault.host) == "paused" and _stands_still(place, fault.host)


def _frozen_undo(order: Order, place: Place) -> None:
    """By what the kernel says, not podman alone: a podman killed on its way leaves its own record behind.

    Such a record says "paused" of a host that runs, and `podman unpause` refuses it; or "running" of a host
    that stands still, and there is nothing to unpause.
    """
    host = str(order["host"])
    if _state(place, host) == "paused":
        _freeze(place, host, still=True)
        run(["podman", "unpause", qualified(place.paths.estate, host)])
    if _stands_still(place, host):
        _freeze(place, host, still=False)


def _frozen_is_undone(order: Order, place: Place) -> bool:
    host = str(order["host"])
    return _state(place, host) == "running" and not _stands_still(place, host)


def _freeze(place: Place, host: str, *, still: bool) -> None:
    group = cgroups.host_group(place, host, "freezer")
    name, frozen, thawed = FREEZER[group.version]
    cgroups.write(group, {name: frozen if still else thawed})


def _stands_still(place: Place, host: str) -> bool:
    if not cgroups.runs(place, host):
        return False
    group = cgroups.host_group(place, host, "freezer")
    name, _, thawed = FREEZER[group.version]
    return cgroups.read(group, name) != thawed


FROZEN = Tool(_frozen_order, _frozen_inject, _frozen_bites, _frozen_undo, _frozen_is_undone)
"""Every process of the host stands still, its clock goes on: a paused machine, a hung hypervisor."""


def _lost_order(fault: HostLost, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host}


def _lost_inject(fault: HostLost, place: Place) -> None:
    run(["podman", "kill", "--signal=KILL", qualified(place.paths.estate, fault.host)])


def _lost_bites(fault: HostLost, place: Place) -> bool:
    return _state(place, fault.host) not in {"running", "paused"}


def _lost_undo(order: Order, place: Place) -> None:
    """The provider's way: the lab is made to agree with its records again, this host among it."""
    if _state(place, str(order["host"])) != "running":
        realise(place.paths, lambda _: None)


def _lost_is_undone(order: Order, place: Place) -> bool:
    return _state(place, str(order["host"])) == "running"


LOST = Tool(_lost_order, _lost_inject, _lost_bites, _lost_undo, _lost_is_undone)
"""The host's processes and its wire are gone in one moment; its disks stay."""


def _state(place: Place, host: str) -> str:
    found = containers(place.paths.estate).get(qualified(place.paths.estate, host))
    return "gone" if found is None else found.state
