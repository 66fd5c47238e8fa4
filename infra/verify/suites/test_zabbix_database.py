"""Zabbix's database: reached by its socket only, and no password in it is the vendor's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("zabbix-database")


def ask(on: Machine, query: str) -> str:
    """One query as the database's own administrator."""
    answer = on.shell.run("cd / && runuser -u postgres -- psql -tAXq -d zabbix -c %s", query)
    assert answer.rc == 0, answer.stderr.strip()[-300:]
    return str(answer.stdout.strip())


def test_listens_to_nobody(on: Machine) -> None:
    """GB/T 22239-2019 8.1.4.2: access only where it is needed."""
    assert on.listening(5432) == set()
    assert ask(on, "SHOW listen_addresses") == ""


def test_data_is_on_the_data_disk_and_private(on: Machine) -> None:
    assert ask(on, "SHOW data_directory") == "/data/postgresql"
    found = on.facts["files"]["/data/postgresql"]
    assert not found["mode"] & 0o077, oct(found["mode"])


def test_no_account_has_the_vendors_password(on: Machine) -> None:
    """GB/T 22239-2019 8.1.4.1: no default password, no account without one."""
    default = "SELECT count(*) FROM users WHERE username = 'Admin' AND passwd = crypt('zabbix', passwd)"
    assert ask(on, default) == "0"
    empty = "SELECT count(*) FROM users WHERE username = 'guest' AND passwd = crypt('', passwd)"
    assert ask(on, empty) == "0"
    disabled = (
        "SELECT count(*) FROM users u JOIN users_groups ug USING (userid) JOIN usrgrp g USING (usrgrpid)"
        " WHERE u.username = 'guest' AND g.users_status = 1"
    )
    assert ask(on, disabled) == "1", "the guest is not disabled"


def test_a_stranger_of_this_host_is_refused(on: Machine) -> None:
    answer = on.shell.run("cd / && runuser -u nobody -- psql -tAXq -U zabbix -d zabbix -c 'SELECT 1'")
    assert answer.rc != 0
