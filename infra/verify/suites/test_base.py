"""Every host: it runs cleanly, offers nothing undeclared, and reaches nothing outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.machine import TLS

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("sshd")

LOOPBACK = ("127.", "::1")
OWN_ADDRESS_ONLY = {"mysql.mysql", "mysql-health.health", "db-router.peers", "platform.https"}
"""Ports that must be bound to the private address alone, so that a second address never offers them."""


def test_no_unit_has_failed(on: Machine) -> None:
    assert on.facts["failed_units"] == []


def test_declared_units_are_active_and_start_at_boot(on: Machine) -> None:
    units = on.facts["units"]
    bad = {n: u for n, u in units.items() if u.get("ActiveState") != "active"}
    assert not bad, f"not active: {bad}"
    late = [
        n for n, u in units.items() if u.get("UnitFileState") not in {"enabled", "static", "enabled-runtime"}
    ]
    assert not late, f"not enabled: {late}"


def test_a_boot_would_start_nothing_that_does_not_run_already(on: Machine) -> None:
    """Else the host is another one after its next restart, and `drift` calls that a hand change."""
    assert on.facts["waiting_for_boot"] == []


def test_declared_ports_are_listened_at(on: Machine) -> None:
    missing = [
        f"{service.name}.{port.name} {port}"
        for service in on.services
        if service.units
        for port in service.listens
        if not {a for a in on.listening(port.number, port.protocol) if not a.startswith(LOOPBACK)}
    ]
    assert not missing, f"nobody listens at {', '.join(missing)}"


def test_nothing_undeclared_listens(on: Machine) -> None:
    declared = {(p.number, p.protocol) for s in on.services for p in s.listens}
    stray = [
        f"{x['process']} at {x['address']}:{x['port']}/{x['protocol']}"
        for x in on.facts["listeners"]
        if not x["address"].startswith(LOOPBACK)
        and (x["port"], x["protocol"]) not in declared
        and x["process"] not in {"wireguard-go", ""}
    ]
    assert not stray, f"undeclared: {', '.join(stray)}"


def test_inner_ports_are_bound_to_the_private_address_only(on: Machine) -> None:
    for service in on.services:
        for port in service.listens:
            if f"{service.name}.{port.name}" in OWN_ADDRESS_ONLY:
                outside = {a for a in on.listening(port.number) if not a.startswith(LOOPBACK)}
                assert outside == {on.address}, f"{service.name}.{port.name}: {outside}"


def test_ssh_takes_keys_only(on: Machine) -> None:
    settings = on.facts["sshd"]
    assert settings["passwordauthentication"] == "no"
    assert settings["kbdinteractiveauthentication"] == "no"
    assert settings["permitemptypasswords"] == "no"
    assert settings["permitrootlogin"] in {"no", "without-password", "prohibit-password"}


def test_no_account_has_a_password(on: Machine) -> None:
    assert on.facts["passwords"] == []


def test_authority_is_installed(on: Machine) -> None:
    assert on.facts["files"][f"{TLS}/ca.crt"], "no CA certificate"
    assert on.shell.file(f"{TLS}/ca.crt").contains("BEGIN CERTIFICATE")


def test_private_keys_are_private(on: Machine) -> None:
    open_to_all = [k["path"] for k in on.facts["keys"] if k["mode"] & 0o007]
    assert not open_to_all, f"readable by everybody: {open_to_all}"


def test_every_service_with_a_certificate_has_it(on: Machine) -> None:
    missing = [s.name for s in on.services if s.certificate and not on.facts["files"][f"{TLS}/{s.name}.crt"]]
    assert not missing, f"no leaf for {missing}"


def test_owned_files_are_there_and_only_their_owner_writes_them(on: Machine) -> None:
    files = on.facts["files"]
    owned = [path for s in on.services if s.units for path in s.owned_files]
    missing = [path for path in owned if files[path] is None]
    assert not missing, f"missing: {missing}"
    assert not [path for path in owned if files[path]["mode"] & 0o022], "writable by others"


def test_packages_come_from_inside_the_estate_only(on: Machine) -> None:
    depots = {h.name for h in on.estate.hosts if "ops" in h.roles}
    names = {*depots, *(f"{d}.{on.estate.domain}" for d in depots), f"depot.service.{on.estate.domain}"}
    foreign = [
        source
        for source in on.facts["package_sources"]
        if not source.startswith(("file:/", "copy:/"))
        and source.partition("://")[2].partition("/")[0].partition(":")[0] not in names
    ]
    assert not foreign, f"apt would fetch from {foreign}"


def test_the_outside_is_out_of_reach(on: Machine) -> None:
    """Of a machine that exists already its own network decides, and `why` says so."""
    if on.declared.exists:
        return
    reached = {target: how for target, how in on.facts["outside"].items() if how != "nothing"}
    assert not reached, f"the way out is open: {reached}"


def test_data_stands_on_a_disk_of_its_own(on: Machine) -> None:
    for disk in on.declared.disks:
        mount = on.facts["mounts"].get(disk.mount)
        assert mount, f"{disk.mount} is not a mount"
        assert mount["type"] in {"ext4", "xfs"}, f"{disk.mount} is {mount['type']}"
    for service in on.services:
        for path in service.data_paths:
            found = on.facts["files"][path]
            assert found, f"{path} is missing"
            assert found["device"] != on.facts["files"]["/"]["device"], f"{path} is on the system disk"
