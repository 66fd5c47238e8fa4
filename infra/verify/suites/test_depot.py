"""Depot: packages come from inside, by HTTPS, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.doors import assert_good_tls, knocked

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("depot")


def test_door_is_encrypted_by_our_authority(on: Machine) -> None:
    assert_good_tls(on, "depot.https")


def test_serves(on: Machine) -> None:
    answer = knocked(on, "depot.https")
    assert 200 <= answer["status"] < 500, f"it answers {answer['status']}"


def test_holds_packages_nobody_else_may_write(on: Machine) -> None:
    found = on.shell.run("find /data/depot -name '*.deb' | head -n 1")
    assert found.stdout.strip(), "no package in /data/depot"
    loose = on.shell.run("find /data/depot -perm /022 ! -type l | head -n 3")
    assert not loose.stdout.strip(), f"writable by others: {loose.stdout.split()}"


def test_hosts_can_install_from_it(on: Machine, everyone: dict[str, Machine]) -> None:
    client = next(m for m in everyone.values() if m.declared.subnet and m.name != on.name)
    updated = client.shell.run("apt-get update --error-on=any -o Dir::State::Lists=$(mktemp -d) 2>&1")
    assert updated.rc == 0, updated.stdout.strip()[-300:]
    assert "Get:" in updated.stdout or "Hit:" in updated.stdout, "apt has no source"
