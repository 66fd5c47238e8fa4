"""Zabbix proxy: buffers on the data disk, under a key, and the server hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("zabbix-proxy")


def test_buffer_is_on_the_data_disk_and_private(on: Machine) -> None:
    found = on.facts["files"]["/data/zabbix-proxy"]
    assert found, "no /data/zabbix-proxy"
    assert not found["mode"] & 0o007, oct(found["mode"])
    assert on.shell.file("/data/zabbix-proxy/proxy.db").exists


def test_buffers_on_disk_not_in_memory(on: Machine) -> None:
    assert on.shell.file("/etc/zabbix/yiyun_proxy.conf").contains("^ProxyBufferMode=disk")


def test_speaks_under_a_key_only(on: Machine) -> None:
    """GB/T 22239-2019 8.1.2.2."""
    settings = on.shell.file("/etc/zabbix/yiyun_proxy.conf")
    assert settings.contains("^TLSConnect=psk")
    key = on.shell.file("/etc/zabbix/proxy.psk")
    assert key.user == "root"
    assert not key.mode & 0o037
    assert len(key.content_string.strip()) == 64


def test_the_server_heard_of_it(on: Machine, everyone: dict[str, Machine]) -> None:
    server = next(m for m in everyone.values() if "zabbix-server" in {s.name for s in m.services})
    query = (
        "SELECT extract(epoch FROM now())::int - lastaccess FROM proxy_rtdata JOIN proxy USING (proxyid)"  # noqa: S608
        f" WHERE name = '{on.name}'"
    )
    answer = server.shell.run("cd / && runuser -u zabbix -- psql -tAXq -d zabbix -c %s", query)
    assert answer.stdout.strip().lstrip("-").isdigit(), f"the server does not know it: {answer.stdout}"
    assert int(answer.stdout) < 30
