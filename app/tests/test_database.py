"""The connection itself: TLS, isolation, what a password file and a CA file must be."""

import subprocess
from pathlib import Path

import pytest
from app_support import rows
from conftest import Server
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from yiyun_app.database import connect
from yiyun_app.errors import UserError
from yiyun_app.settings import DatabaseSettings


def test_transactions_are_read_committed_and_in_utc(engine: Engine) -> None:
    assert rows(engine, "SELECT @@transaction_isolation, @@time_zone") == [("READ-COMMITTED", "+00:00")]


def test_with_a_ca_the_connection_is_encrypted_and_the_server_proven(
    mysql: Server, migrated: DatabaseSettings, tmp_path: Path
) -> None:
    if mysql.ca_file is None:
        pytest.skip("the given server's CA file is not known")
    engine = connect(migrated.model_copy(update={"database_ca_file": mysql.ca_file}))
    assert rows(engine, "SHOW SESSION STATUS LIKE 'Ssl_version'")[0][1].startswith("TLSv1.")
    engine.dispose()
    other = tmp_path / "other.pem"
    request = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=other",
        "-keyout",
        "/dev/null",
        "-out",
    ]
    subprocess.run(["openssl", *request, str(other)], check=True, capture_output=True)
    refused = connect(migrated.model_copy(update={"database_ca_file": other}))
    with pytest.raises(OperationalError, match="certificate verify failed"):
        rows(refused, "SELECT 1")
    refused.dispose()


def test_without_a_ca_the_connection_is_plain(engine: Engine) -> None:
    assert rows(engine, "SHOW SESSION STATUS LIKE 'Ssl_version'")[0][1] == ""


def test_a_ca_file_that_is_none_is_a_users_mistake(tmp_path: Path) -> None:
    password, authority = tmp_path / "password", tmp_path / "ca.pem"
    password.touch(mode=0o600)
    password.write_text("x")
    authority.write_text("not a certificate")
    for file in (authority, tmp_path / "missing.pem"):
        with pytest.raises(UserError, match="CA file"):
            connect(DatabaseSettings(database_password_file=password, database_ca_file=file))
