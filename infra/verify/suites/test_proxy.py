"""Proxy: the platform answers through it, and the line's door wants a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.doors import assert_good_tls, assert_refused, knocked

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("proxy")


@pytest.mark.parametrize("door", ["proxy.https", "proxy.line"])
def test_door_is_encrypted_by_our_authority(on: Machine, door: str) -> None:
    assert_good_tls(on, door)


def test_platform_answers_through_it(on: Machine) -> None:
    assert knocked(on, "proxy.https")["status"] == 200


def test_line_door_refuses_who_has_no_certificate(on: Machine) -> None:
    assert_refused(on, "proxy.line")


def test_tells_browsers_to_stay_safe(on: Machine) -> None:
    head = knocked(on, "proxy.https").get("head", "").lower()
    for header in ("strict-transport-security", "x-content-type-options"):
        assert header in head, f"no {header}"


def test_does_not_tell_its_version(on: Machine) -> None:
    assert "nginx/" not in knocked(on, "proxy.https").get("head", "").lower()


def test_configuration_is_valid(on: Machine) -> None:
    checked = on.shell.run("nginx -t -q")
    assert checked.rc == 0, checked.stderr.strip()[-300:]
