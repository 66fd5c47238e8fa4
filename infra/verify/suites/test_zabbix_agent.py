"""Zabbix agent: listens nowhere, sends under a key of its own, and what it sends arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("zabbix-agent")


def test_listens_nowhere(on: Machine) -> None:
    assert on.listening(10050) == set()


def test_sends_under_a_key_of_its_own(on: Machine) -> None:
    """GB/T 22239-2019 8.1.2.2."""
    settings = on.shell.file("/etc/zabbix/yiyun_agent2.conf")
    assert settings.contains("^TLSConnect=psk")
    assert settings.contains(f"^TLSPSKIdentity=agent-{on.name}$")
    key = on.shell.file("/etc/zabbix/agent.psk")
    assert (key.user, key.group) == ("root", "zabbix")
    assert not key.mode & 0o037


def test_runs_no_command_it_is_told(on: Machine) -> None:
    assert on.shell.file("/etc/zabbix/yiyun_agent2.conf").contains("^DenyKey=system.run")


def test_does_not_run_as_root(on: Machine) -> None:
    user = on.shell.run("ps -o user= -p $(systemctl show --property=MainPID --value zabbix-agent2)")
    assert user.stdout.strip() == "zabbix"


def test_what_it_sends_arrives(on: Machine, everyone: dict[str, Machine]) -> None:
    """Its item `agent.ping` is fresh in the server's database."""
    server = next(m for m in everyone.values() if "zabbix-server" in {s.name for s in m.services})
    query = (
        "SELECT extract(epoch FROM now())::int - max(x.clock) FROM history_uint x JOIN items i USING (itemid)"  # noqa: S608
        f" JOIN hosts h USING (hostid) WHERE h.host = '{on.name}' AND i.key_ = 'agent.ping'"
    )
    answer = server.shell.run("cd / && runuser -u zabbix -- psql -tAXq -d zabbix -c %s", query)
    age = answer.stdout.strip()
    assert age.lstrip("-").isdigit(), f"nothing ever arrived: {answer.stderr[-200:]}"
    assert int(age) < 20, f"the newest value is {age} s old"
