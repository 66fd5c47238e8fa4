"""Collector: takes messages, keeps them, and gets through the line's door with its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.doors import REFUSALS, assert_refused

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("collector")


def test_reports_its_state(on: Machine) -> None:
    assert isinstance(on.json_of("collector"), dict)


def test_store_is_on_the_data_disk_and_private(on: Machine) -> None:
    found = on.facts["files"]["/data/collector"]
    assert found, "no /data/collector"
    assert not found["mode"] & 0o007, oct(found["mode"])


def test_reaches_the_platform_over_the_line_with_its_certificate(on: Machine) -> None:
    doors = {name: d for name, d in on.facts["doors"].items() if name.endswith("with certificate")}
    assert doors, "no application host to reach"
    failed = {name: d["error"] or d["status"] for name, d in doors.items() if not d["version"]}
    assert not failed, failed
    bad = {name: d["status"] for name, d in doors.items() if d["status"] in {0, *REFUSALS, 502, 503, 504}}
    assert not bad, bad


def test_is_refused_without_its_certificate(on: Machine) -> None:
    doors = [name for name in on.facts["doors"] if name.endswith("without certificate")]
    assert doors, "no application host to reach"
    for door in doors:
        assert_refused(on, door)


def test_does_not_run_as_root(on: Machine) -> None:
    user = on.shell.run("ps -o user= -p $(systemctl show --property=MainPID --value yiyun-gateway)")
    assert user.stdout.strip() not in {"", "root"}
