"""Restores on the operations host: its keys open what was stored, and nobody else here reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("backup-trial")


def test_the_agents_user_cannot_read_what_opens_backups(on: Machine) -> None:
    for name in ("identity", "mysql.password"):
        tried = on.shell.run(f"runuser -u yiyun-backup -- cat /etc/yiyun-backup/{name}")
        assert tried.rc != 0, name


def test_no_server_runs_where_databases_are_brought_back(on: Machine) -> None:
    """One that was left behind would answer to whoever reaches its socket."""
    found = on.shell.run("pgrep --exact mysqld")
    running = on.shell.run("systemctl is-active yiyun-backup-rehearse.service")
    assert found.stdout.strip() == "" or running.stdout.strip() == "activating"
