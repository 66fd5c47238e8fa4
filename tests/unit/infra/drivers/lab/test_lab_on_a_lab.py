"""A lab on another lab's internet: what is planned for both, without a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.fabric import routers
from infra.drivers.lab.guests import Guest, forget, read_guests
from infra.drivers.lab.rulesets import own_addresses, ruleset
from infra.drivers.lab.topology import plan_topology
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from pathlib import Path

    from infra.drivers.lab.desired import Desired

GUEST = Guest(estate="r-lab", router="vpc", addresses=("203.0.113.110", "100.64.2.1"))


def stands_on(desired: Desired, home: str) -> Desired:
    settings = desired.settings.model_copy(update={"home": home, "number": 2, "reached": ("100.64.2.10",)})
    return replace(desired, estate="r-lab", settings=settings, stores=(), buckets=(), sites=())


def test_a_guest_has_no_internet_of_its_own(desired: Desired) -> None:
    guest = stands_on(desired, "lab")
    topology = plan_topology(guest)
    assert "inet" not in {n.thing for n in topology.namespaces}
    assert "inet" not in {wire.router[0] for wire in topology.wires}
    assert "inet" not in routers(guest)
    assert "inet" in routers(desired)


def test_a_guest_calls_the_store_of_the_copies_by_an_address_of_its_own(desired: Desired) -> None:
    guest = stands_on(desired, "lab")
    text = ruleset(guest, "vpc")
    assert "ip daddr { 100.64.2.10 } snat ip to 100.64.2.1" in text
    assert "snat ip to 100.64.1.1" not in text
    uplink = plan_topology(guest).namespace("vpc").interfaces[0]
    assert "100.64.2.1/32" in uplink.addresses


def test_its_home_routes_what_is_the_guests_and_lets_nothing_else_in_from_there(desired: Desired) -> None:
    home = replace(desired, guests=(GUEST,))
    internet = plan_topology(home).namespace("inet")
    assert GUEST.port in {i.name for i in internet.interfaces}
    routes = {(r.destination, r.device) for r in internet.routes}
    assert {("203.0.113.110/32", GUEST.port), ("100.64.2.1/32", GUEST.port)} <= routes
    own = {address for port, address in own_addresses(home, "inet") if port == GUEST.port}
    assert own == set(GUEST.addresses)
    assert GUEST.port not in {i.name for i in plan_topology(desired).namespace("inet").interfaces}


def test_guests_are_kept_by_name_until_they_are_forgotten(tmp_path: Path) -> None:
    paths = EstatePaths("lab", tmp_path)
    folder = paths.records / "guests"
    folder.mkdir(parents=True)
    (folder / "r-lab.json").write_text(GUEST.model_dump_json(), encoding="utf-8")
    assert read_guests(paths) == (GUEST,) == read_desired(paths).guests
    forget(paths, "r-lab")
    forget(paths, "r-lab")
    assert read_guests(paths) == ()
