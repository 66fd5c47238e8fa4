"""A real MySQL for the integration tests: given, or started on a scratch directory; else a skip."""

import base64
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
from app_support import PASSWORD, eventually
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from yiyun_app.database import connect, sessions
from yiyun_app.migrate import migrate
from yiyun_app.retry import RetryPolicy, run_transaction
from yiyun_app.schema import Base
from yiyun_app.settings import DatabaseSettings, ServeSettings
from yiyun_app.users import set_user
from yiyun_app.web.server import create

START_SECONDS = 60

PROXY = ("192.0.2.10", 40000)


@dataclass(frozen=True)
class Server:
    host: str
    port: int
    user: str
    password_file: Path
    ca_file: Path | None = None

    def admin(self) -> pymysql.Connection:
        password = self.password_file.read_text().strip()
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=password,
            autocommit=True,
            ssl_disabled=True,
        )


@pytest.fixture(scope="session")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """YIYUN_TEST_MYSQL=host:port:user:passwordfile, else a mysqld from YIYUN_TEST_MYSQLD or PATH."""
    if given := os.environ.get("YIYUN_TEST_MYSQL"):
        host, port, user, password_file = given.split(":", 3)
        yield Server(host, int(port), user, Path(password_file))
        return
    binary = os.environ.get("YIYUN_TEST_MYSQLD") or shutil.which("mysqld")
    if binary is None:
        pytest.skip("no MySQL: set YIYUN_TEST_MYSQL or YIYUN_TEST_MYSQLD, or put mysqld on PATH")
    directory = tmp_path_factory.mktemp("mysql")
    with _started(binary, directory) as server:
        yield server


@contextlib.contextmanager
def _started(binary: str, directory: Path) -> Iterator[Server]:
    data, log = directory / "data", directory / "log"
    root = ["--user=root"] if os.geteuid() == 0 else []
    common = [
        binary,
        "--no-defaults",
        *root,
        f"--datadir={data}",
        f"--log-error={log}",
        "--secure-file-priv=NULL",
    ]
    small = [
        "--innodb-redo-log-capacity=8M",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=2",
    ]
    subprocess.run([*common, *small, "--initialize-insecure"], check=True, timeout=120)
    port = free_port()
    process = subprocess.Popen(
        [
            *common,
            *small,
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--socket={directory}/s",
            "--mysqlx=OFF",
            "--skip-log-bin",
            "--sql-require-primary-key=ON",
        ]
    )
    log.touch()
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    server = Server("127.0.0.1", port, "root", password_file, data / "ca.pem")
    try:
        _wait(server, process, log)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        with contextlib.suppress(pymysql.Error):
            server.admin().close()
            return True
        assert process.poll() is None, f"mysqld ended:\n{log.read_text()[-2000:]}"
        return False

    eventually(answers, START_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def secret_files(tmp_path: Path) -> dict[str, Path]:
    contents = {"session_key_file": "s" * 40, "field_key_file": base64.b64encode(bytes(range(32))).decode()}
    files = {name: tmp_path / name for name in contents}
    for name, path in files.items():
        path.touch(mode=0o600)
        path.write_text(contents[name])
    return files


@contextlib.contextmanager
def _database(mysql: Server, directory: Path) -> Iterator[DatabaseSettings]:
    name = f"yiyun_{secrets.token_hex(8)}"
    password = secrets.token_hex(16)
    with mysql.admin() as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'")
        cursor.execute(f"GRANT ALL ON {name}.* TO '{name}'@'%'")
    file = directory / f"{name}.password"
    file.touch(mode=0o600)
    file.write_text(password + "\n")
    yield DatabaseSettings(
        database_host=mysql.host,
        database_port=mysql.port,
        database_name=name,
        database_user=name,
        database_password_file=file,
    )
    with mysql.admin() as admin, admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
        cursor.execute(f"DROP USER '{name}'@'%'")


@pytest.fixture
def empty_database(mysql: Server, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """An application account and an empty database of its own."""
    with _database(mysql, tmp_path) as settings:
        yield settings


@pytest.fixture(scope="session")
def migrated(mysql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseSettings]:
    """One migrated database for all tests."""
    with _database(mysql, tmp_path_factory.mktemp("database")) as settings:
        made = connect(settings)
        migrate(made)
        made.dispose()
        yield settings


@pytest.fixture
def engine(migrated: DatabaseSettings) -> Iterator[Engine]:
    """An engine on the migrated database, emptied."""
    made = connect(migrated)
    with made.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    yield made
    made.dispose()


@pytest.fixture
def serve_settings(migrated: DatabaseSettings, secret_files: dict[str, Path]) -> ServeSettings:
    return ServeSettings(
        **{
            **migrated.model_dump(),
            **secret_files,
            "trusted_proxies": "192.0.2.0/24",
            "retry_seconds": 3,
        }
    )


@pytest.fixture
def gateway(engine: Engine, serve_settings: ServeSettings) -> Iterator[TestClient]:
    """A client that comes from the trusted proxy with a certificate name."""
    app = create(serve_settings, engine)
    with TestClient(
        app, "https://testserver", client=PROXY, headers={"X-Yiyun-Client": "edge-1"}, follow_redirects=False
    ) as client:
        yield client


@pytest.fixture
def browser(engine: Engine, gateway: TestClient) -> Iterator[TestClient]:
    """A client on the same application without any header of the proxy, and the accounts wang and ops."""
    for username, role in (("wang", "doctor"), ("ops", "operator")):
        run_transaction(
            sessions(engine),
            lambda session, username=username, role=role: set_user(
                session, username, "王医生", role, PASSWORD
            ),
            idempotent=True,
            policy=RetryPolicy(),
        )
    with TestClient(
        gateway.app, "https://testserver", client=("198.51.100.7", 50000), follow_redirects=False
    ) as client:
        yield client
