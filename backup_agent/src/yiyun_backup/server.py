"""A throwaway MySQL server on a folder of data: nobody reaches it but us, and it changes no more than asked.

An account of its own is made without a trace in the log, and taken away again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql

from yiyun_backup.errors import BackupError
from yiyun_backup.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

START_SECONDS, STOP_SECONDS = 300.0, 120.0
"""Recovery of a large copy takes a while."""
ACCOUNT = "yiyun_restore"
OPTIONS: Mapping[str, str] = {
    "skip-networking": "ON",
    "mysqlx": "OFF",
    "skip-replica-start": "ON",
    "relay-log": "relay",
    "relay-log-index": "relay.index",
    "relay-log-recovery": "OFF",
    "relay-log-purge": "OFF",
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "replica-preserve-commit-order": "ON",
    "replica-parallel-workers": "4",
    "replicate-same-server-id": "ON",
    "innodb-flush-log-at-trx-commit": "2",
    "event-scheduler": "OFF",
    "performance-schema": "OFF",
    "table-open-cache": "400",
    "max-connections": "20",
    "log-error-verbosity": "2",
    "secure-file-priv": "NULL",
    "auto-generate-certs": "OFF",
    "sha256-password-auto-generate-rsa-keys": "OFF",
    "caching-sha2-password-auto-generate-rsa-keys": "OFF",
}
"""A restore that is killed begins again, so nothing is flushed for its sake. The log may be that of a server
with our own number, and an applier leaves out what it takes for its own, without a word (measured). Without
Performance Schema, whose tables of replication answer all the same, it holds 225 MB, not 540 (measured). A
copy by CLONE comes without keys; those made here would be saved with it and be nobody's."""


class ServerError(BackupError):
    """The server did not start, or ended."""

    code = "server"


class Server:
    """A running server. `ask` raises MySQLError."""

    account = ACCOUNT

    def __init__(self, process: subprocess.Popen[bytes], socket: Path, password: str, log: Path) -> None:
        self._process, self.socket, self.password, self._log = process, socket, password, log

    def connect(self, user: str = ACCOUNT, password: str = "") -> Any:
        """A connection; of its own account, which may do everything, when no other is named."""
        return pymysql.connect(
            unix_socket=str(self.socket),
            user=user,
            password=password or self.password,
            autocommit=True,
            init_command="SET SESSION sql_log_bin = 0" if user == ACCOUNT else None,
        )

    def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """The errors at the end of its log, on one line."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        errors = [line for line in text.splitlines() if "[ERROR]" in line]
        return " ".join(errors or text.splitlines()[-1:])[:600]


@contextmanager
def serving(
    program: Path, data: Path, *, user: str = "", options: Mapping[str, str] | None = None
) -> Generator[Server]:
    """Run a server on a folder until the block ends; then it shuts down cleanly.

    `user`: whom the files belong to, when we are root. Raises ServerError.
    """
    with tempfile.TemporaryDirectory(prefix="yiyun-backup-") as name:
        files = _Files(Path(name), data, secrets.token_urlsafe(24))
        files.write(user)
        wanted = {**OPTIONS, **(options or {}), **files.options}
        argv = [str(program), "--no-defaults", *(f"--{option}={value}" for option, value in wanted.items())]
        argv += ["--disable-log-bin"]
        argv += [f"--user={user or 'root'}"] if os.geteuid() == 0 else []
        # A process that changes its user by itself would outlive us: the kernel forgets the signal then.
        owner = ["--reuid", user, "--regid", user, "--init-groups"] if user and os.geteuid() == 0 else []
        process = subprocess.Popen(
            ["setpriv", *owner, "--pdeathsig", "KILL", *argv],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = Server(process, files.socket, files.password, files.log)
        try:
            _wait(server, process)
            yield server
            server.ask(f"DROP USER IF EXISTS '{ACCOUNT}'@'localhost'", "SHUTDOWN")
            _end(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class _Files:
    """What a server is started with: where its socket is, the account it makes, where it complains."""

    folder: Path
    data: Path
    password: str

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "server.sock"

    @property
    def log(self) -> Path:
        return self.data.parent / f"{self.data.name}.log"

    @property
    def options(self) -> dict[str, str]:
        return {
            "datadir": str(self.data),
            "socket": str(self.socket),
            "pid-file": f"{self.socket}.pid",
            "log-error": str(self.log),
            "init-file": str(self.folder / "init.sql"),
        }

    def write(self, user: str) -> None:
        """Readable by the server alone."""
        self.folder.chmod(0o711)
        self.socket.parent.mkdir(mode=0o700)
        init = self.folder / "init.sql"
        write_whole(init, _init(self.password).encode(), 0o600)
        self.log.unlink(missing_ok=True)
        self.log.touch(0o640)
        for path in (self.socket.parent, init, self.log):
            if user:
                shutil.chown(path, user, user)


def _init(password: str) -> str:
    return "\n".join(
        [
            "SET SESSION sql_log_bin = 0;",
            "SET GLOBAL super_read_only = OFF;",
            "SET GLOBAL read_only = OFF;",
            f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'localhost' IDENTIFIED BY '{password}';",
            f"ALTER USER '{ACCOUNT}'@'localhost' IDENTIFIED BY '{password}';",
            f"GRANT ALL ON *.* TO '{ACCOUNT}'@'localhost' WITH GRANT OPTION;",
            "",
        ]
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a shutdown that was asked for. One that is killed meanwhile leaves no database at rest."""
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"the server did not end within {STOP_SECONDS:.0f} s") from error
    if code != 0:
        raise ServerError(f"the server did not end cleanly ({code})")


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            server.ask("SELECT 1")
            return
        except pymysql.MySQLError as error:
            if process.poll() is not None:
                raise ServerError(f"the server did not start: {server.last_words()}") from error
            if time.monotonic() > limit:
                raise ServerError(f"the server does not answer: {server.last_words()}") from error
        time.sleep(0.1)
