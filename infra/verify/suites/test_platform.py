"""Platform: ready, encrypted, not root, its secrets its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.doors import assert_good_tls, knocked

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("platform")

SECRET_SETTING = re.compile(r"\w*(PASSWORD|KEY|SECRET|TOKEN)(?!_FILE)\w*=(?!/)", re.IGNORECASE)
"""A setting that is a secret itself, not the path of one."""


def test_is_ready(on: Machine) -> None:
    assert knocked(on, "platform.https")["status"] == 200


def test_door_is_encrypted_by_our_authority(on: Machine) -> None:
    assert_good_tls(on, "platform.https")


def test_does_not_run_as_root(on: Machine) -> None:
    user = on.shell.run("ps -o user= -p $(systemctl show --property=MainPID --value yiyun-app)")
    assert user.stdout.strip() not in {"", "root"}


def test_secrets_are_files_for_their_reader_only(on: Machine) -> None:
    assert on.facts["files"]["/etc/yiyun-app/app.env"], "no /etc/yiyun-app/app.env"
    settings = on.shell.file("/etc/yiyun-app/app.env").content_string
    plain = [line.partition("=")[0] for line in settings.splitlines() if SECRET_SETTING.match(line)]
    assert not plain, f"secrets among the settings: {plain}"
    found = on.shell.run("find /etc/yiyun-app/secrets -type f -printf '%p %m\\n'").stdout.split("\n")
    modes = dict(line.split(" ") for line in found if line)
    assert modes, "no secret in /etc/yiyun-app/secrets"
    assert not [path for path, mode in modes.items() if int(mode, 8) & 0o007], modes


def test_secrets_do_not_stand_in_the_process_table(on: Machine) -> None:
    shown = on.shell.run("ps -eo args | grep -Ei '(password|secret)=[^ ]' | grep -v grep")
    assert not shown.stdout.strip(), "a secret stands in a command line"
