"""Zabbix server: it runs, processes values, and lets nobody in who has no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("zabbix-server")


def test_processes_values(on: Machine) -> None:
    query = "SELECT max(clock) > extract(epoch FROM now()) - 30 FROM history_uint"
    answer = on.shell.run("cd / && runuser -u zabbix -- psql -tAXq -d zabbix -c %s", query)
    assert answer.stdout.strip() == "t", answer.stdout + answer.stderr[-300:]


def test_every_host_and_proxy_must_have_a_key(on: Machine) -> None:
    """GB/T 22239-2019 8.1.2.2: measurements travel encrypted. Bit 1 of tls_accept is: without encryption.

    What has no agent sends nothing.
    """
    query = (
        "SELECT string_agg(h.host, ',') FROM hosts h WHERE h.status IN (0, 1) AND h.flags = 0"
        " AND (h.tls_accept & 1) = 1"
        " AND EXISTS (SELECT FROM items i WHERE i.hostid = h.hostid AND i.type = 7)"
    )
    answer = on.shell.run("cd / && runuser -u zabbix -- psql -tAXq -d zabbix -c %s", query)
    assert answer.stdout.strip() == "", f"would be believed without a key: {answer.stdout.strip()}"


def test_does_not_run_as_root(on: Machine) -> None:
    user = on.shell.run("ps -o user= -p $(systemctl show --property=MainPID --value zabbix-server)")
    assert user.stdout.strip() == "zabbix"


def test_its_settings_hold_no_password(on: Machine) -> None:
    assert not on.shell.file("/etc/zabbix/yiyun_server.conf").contains("^DBPassword")
