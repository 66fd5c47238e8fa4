"""The real platform on a real MySQL, without a proxy and without a lab."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.mysqld import ensure_program
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "platform.test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificate(folder: Path) -> str:
    """A certificate for NAME that is its own authority; its key beside it. Returns its text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(Encoding.PEM).decode()
    (folder / "tls.crt").write_text(text)
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return text


@contextmanager
def running_mysql(folder: Path) -> Iterator[int]:
    """The port of a MySQL server with a database `yiyun` and root without a password."""
    port = free_port()
    program = os.environ.get("YIYUN_TEST_MYSQLD") or str(ensure_program("mysqld", print))
    common = [program, "--no-defaults", f"--datadir={folder}/data", f"--log-error={folder}/log"]
    common += ["--user=root"] if os.geteuid() == 0 else []
    common += ["--innodb-buffer-pool-size=64M", "--innodb-redo-log-capacity=8M", "--secure-file-priv=NULL"]
    subprocess.run([*common, "--initialize-insecure"], check=True, timeout=120)
    own = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/s", "--mysqlx=OFF"]
    strict = ["--sql-require-primary-key=ON", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"]
    process = subprocess.Popen([*common, *own, *strict])

    def answers() -> bool:
        with contextlib.suppress(pymysql.Error):
            sql(port, "CREATE DATABASE IF NOT EXISTS yiyun")
            return True
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        return False

    try:
        eventually(answers, seconds=60)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def sql(port: int, script: str) -> Any:
    """Run a script as the drill does; the one JSON value of its last statement, if it gives one."""
    with pymysql.connect(
        host="127.0.0.1",
        port=port,
        user="root",
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        ssl_disabled=True,
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(script)
        row = cursor.fetchone()
        while cursor.nextset():
            row = cursor.fetchone() or row
        connection.commit()
        return json.loads(row[0]) if row else None


@dataclass
class Platform:
    """One platform without a proxy: started, killed, started again."""

    folder: Path
    port: int
    environment: dict[str, str]
    authority: str
    process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str, told: str = "") -> str:
        argv = [str(Path(sys.executable).with_name("yiyun-app")), *words]
        done = subprocess.run(
            argv, env=self.environment, input=told, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        argv = [str(Path(sys.executable).with_name("yiyun-app")), "serve"]
        with (self.folder / "platform.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=self.environment, stdout=log, stderr=log)
        eventually(self._ready, seconds=30)

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "platform.log").read_text()[-2000:]
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"https://127.0.0.1:{self.port}/readyz", verify=False).status_code == 200  # noqa: S501
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_platform(mysql: int, folder: Path) -> Iterator[Platform]:
    """A migrated platform that serves, its database that of the server at port `mysql`."""
    port, attachments = free_port(), folder / "attachments"
    attachments.mkdir()
    for name, text in {"password": "\n", "session": "s" * 40, "field": f"{'A' * 43}=\n"}.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    sql(mysql, "CREATE USER IF NOT EXISTS app IDENTIFIED BY 'app-secret'; GRANT ALL ON yiyun.* TO app")
    (folder / "password").write_text("app-secret\n")
    settings = {
        "DATABASE_PORT": str(mysql),
        "DATABASE_USER": "app",
        "DATABASE_PASSWORD_FILE": str(folder / "password"),
        "SESSION_KEY_FILE": str(folder / "session"),
        "FIELD_KEY_FILE": str(folder / "field"),
        "LISTEN_PORT": str(port),
        "TLS_CERTIFICATE_FILE": str(folder / "tls.crt"),
        "TLS_KEY_FILE": str(folder / "tls.key"),
        "ATTACHMENTS_FOLDER": str(attachments),
        "ATTACHMENTS_MOUNTED": "false",
        "TRUSTED_PROXIES": "127.0.0.1/32",
    }
    environment = {"PATH": os.environ["PATH"], **{f"YIYUN_APP_{k}": v for k, v in settings.items()}}
    made = Platform(folder, port, environment, certificate(folder))
    try:
        made.command("migrate")
        made.start()
        yield made
    finally:
        made.kill()
