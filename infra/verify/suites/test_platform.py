"""Platform: ready, encrypted, not root, its secrets its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.doors import assert_good_tls, knocked

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("platform")


def test_is_ready(on: Machine) -> None:
    assert knocked(on, "platform.https")["status"] == 200


def test_door_is_encrypted_by_our_authority(on: Machine) -> None:
    assert_good_tls(on, "platform.https")


def test_does_not_run_as_root(on: Machine) -> None:
    user = on.shell.run("ps -o user= -p $(systemctl show --property=MainPID --value yiyun-app)")
    assert user.stdout.strip() not in {"", "root"}


def test_secrets_are_not_for_everybody(on: Machine) -> None:
    found = on.facts["files"]["/etc/yiyun-app/app.env"]
    assert found, "no /etc/yiyun-app/app.env"
    assert not found["mode"] & 0o007, oct(found["mode"])


def test_secrets_do_not_stand_in_the_process_table(on: Machine) -> None:
    shown = on.shell.run("ps -eo args | grep -Ei '(password|secret)=[^ ]' | grep -v grep")
    assert not shown.stdout.strip(), "a secret stands in a command line"
