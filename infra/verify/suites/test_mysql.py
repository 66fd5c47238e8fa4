"""MySQL: one whole group, durable, encrypted, with accounts that can do what they need and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.verify.suites.rights import ROW_RIGHTS, surplus_rights

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("mysql")

SYSTEM_ACCOUNTS = {"mysql.infoschema", "mysql.session", "mysql.sys"}


def test_group_is_whole(on: Machine) -> None:
    members = on.json_of("mysql-members")
    declared = {m.name for m in on.estate.hosts_with("db")}
    assert len(members) == len(declared), members
    assert {m["state"] for m in members} == {"ONLINE"}, members


def test_every_acknowledged_commit_is_on_disk(on: Machine) -> None:
    now = on.json_of("mysql-variables")
    assert (now["sync_binlog"], now["innodb_flush_log_at_trx_commit"], now["gtid_mode"]) == ("1", "1", "ON")
    assert now["transaction_isolation"] == "READ-COMMITTED"


def test_only_encrypted_connections(on: Machine) -> None:
    now = on.json_of("mysql-variables")
    assert now["require_secure_transport"] == "ON"
    assert set(now["tls_version"].split(",")) <= {"TLSv1.2", "TLSv1.3"}


def test_files_of_the_server_and_of_clients_stay_apart(on: Machine) -> None:
    assert on.json_of("mysql-variables")["local_infile"] == "OFF"


def test_data_directory_is_the_declared_one_and_private(on: Machine) -> None:
    assert on.json_of("mysql-variables")["datadir"].rstrip("/") == "/data/mysql"
    found = on.facts["files"]["/data/mysql"]
    assert found["owner"] == "mysql"
    assert not found["mode"] & 0o007, oct(found["mode"])


def test_no_account_without_a_password(on: Machine) -> None:
    accounts = on.json_of("mysql-accounts")
    free = [
        f"{a['user']}@{a['host']}"
        for a in accounts
        if a["empty"] and a["plugin"] != "auth_socket" and a["locked"] == "N"
    ]
    assert not free, free
    assert not [a for a in accounts if not a["user"]], "an anonymous account"


def test_root_is_local_only(on: Machine) -> None:
    roots = {(a["host"], a["plugin"]) for a in on.json_of("mysql-accounts") if a["user"] == "root"}
    assert roots == {("localhost", "auth_socket")}


def test_no_account_may_come_from_anywhere(on: Machine) -> None:
    anywhere = [a["user"] for a in on.json_of("mysql-accounts") if "%" in a["host"]]
    assert not anywhere, anywhere


def test_accounts_from_afar_must_use_tls(on: Machine) -> None:
    accounts = on.json_of("mysql-accounts")
    plain = [f"{a['user']}@{a['host']}" for a in accounts if a["host"] != "localhost" and not a["tls"]]
    assert not plain, plain


def test_application_may_change_rows_and_nothing_else(on: Machine) -> None:
    assert set(on.json_of("mysql-app_grants")) == ROW_RIGHTS
    assert set(on.json_of("mysql-app_global_grants")) == {"USAGE"}
    mighty = [
        a["user"]
        for a in on.json_of("mysql-accounts")
        if a["user"].startswith("yiyun_")
        and a["user"] not in {"yiyun_admin", "yiyun_group"}
        and "Y" in {a["super"], a["grant"], a["file"]}
    ]
    assert not mighty, mighty


def test_every_account_reaches_what_it_is_for_and_nothing_else(on: Machine) -> None:
    wrong = surplus_rights(on.json_of("mysql-rights"))
    assert not wrong, wrong


def test_members_speak_to_each_other_encrypted_and_proven(on: Machine) -> None:
    now = on.json_of("mysql-variables")
    assert now["group_replication_ssl_mode"] == "VERIFY_CA"
    assert now["group_replication_recovery_use_ssl"] == "ON"
    assert now["group_replication_recovery_ssl_verify_server_cert"] == "ON"


def test_the_group_has_the_mode_the_estate_says(on: Machine) -> None:
    wanted = "ON" if on.estate.database.single_primary else "OFF"
    assert on.json_of("mysql-variables")["group_replication_single_primary_mode"] == wanted


def test_a_member_that_gives_up_shuts_itself_to_clients(on: Machine) -> None:
    assert on.json_of("mysql-variables")["group_replication_exit_state_action"] == "OFFLINE_MODE"


def test_configuration_with_secrets_is_not_for_everybody(on: Machine) -> None:
    for path in ("/etc/yiyun/mysql-group.json", "/etc/mysql/yiyun-mysql.key"):
        assert not on.shell.file(path).mode & 0o077, path
