"""Zabbix's pages: encrypted, closed to who has no password, no file of theirs can be fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.doors import assert_good_tls, knocked

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("zabbix-frontend")


def test_door_is_encrypted_by_our_authority(on: Machine) -> None:
    assert_good_tls(on, "zabbix-frontend.https")


def test_answers(on: Machine) -> None:
    assert knocked(on, "zabbix-frontend.https")["status"] == 200


def test_tells_browsers_to_stay_safe_and_nothing_of_itself(on: Machine) -> None:
    head = knocked(on, "zabbix-frontend.https").get("head", "").lower()
    for header in ("strict-transport-security", "x-content-type-options"):
        assert header in head, f"no {header}"
    assert "nginx/" not in head
    assert "x-powered-by" not in head


@pytest.mark.parametrize("path", ["conf/zabbix.conf.php", "include/config.inc.php", "app/", "vendor/"])
def test_files_of_the_program_cannot_be_fetched(on: Machine, path: str) -> None:
    url = f"https://{on.name}.{on.estate.domain}/{path}"
    code = on.shell.run("curl -s -o /dev/null -w '%%{http_code}' %s", url).stdout
    assert code in {"403", "404"}, f"{path}: {code}"


def test_the_vendors_password_is_refused(on: Machine) -> None:
    """GB/T 22239-2019 8.1.4.1: no default password."""
    body = '{"jsonrpc":"2.0","method":"user.login","params":{"username":"Admin","password":"zabbix"},"id":1}'
    url = f"https://{on.name}.{on.estate.domain}/api_jsonrpc.php"
    answer = on.shell.run("curl -s -H 'Content-Type: application/json-rpc' -d %s %s", body, url)
    assert "Incorrect user name or password" in answer.stdout, answer.stdout[-300:]


def test_no_apache(on: Machine) -> None:
    assert not on.shell.package("apache2").is_installed


def test_how_it_finds_the_database_is_for_its_user_only(on: Machine) -> None:
    found = on.shell.file("/etc/zabbix/zabbix.conf.php")
    assert (found.user, found.group) == ("root", "zabbix-frontend")
    assert not found.mode & 0o027
