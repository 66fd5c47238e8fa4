"""Real members of one group on this machine, each at an address of its own: 127.0.1.1 to 127.0.1.3.

`YIYUN_TEST_MYSQLD` names the server; else the one on PATH; else None (the caller skips).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pymysql

from infra.trust.authority import LeafSpec, make_leaf, make_root
from tests.beds.routers import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.trust.authority import Pair

PASSWORD = "bed-0123456789"
SECONDS = 60
RESTART_EXIT = 16
"""A server that restarts itself after a copy ends with this (mysqld as a supervisor's child)."""


def server() -> str | None:
    """mysqld, as given or found."""
    return os.environ.get("YIYUN_TEST_MYSQLD") or shutil.which("mysqld", path="/usr/sbin:/usr/bin")


@dataclass
class Server:
    """One member's process and folder."""

    name: str
    number: int
    folder: Path
    port: int
    group_ports: list[int]
    group: str
    options: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.1.{self.number}"

    def initialise(self) -> None:
        statements = self.folder / "init.sql"
        self.folder.mkdir(parents=True, exist_ok=True)
        rights = (
            "REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.*",
            "ALL ON *.*",
        )
        accounts = zip(("yiyun_group", "yiyun_admin"), rights, strict=True)
        lines = ["CREATE USER '{0}'@'%' IDENTIFIED BY '{1}';", "GRANT {2} TO '{0}'@'%' WITH GRANT OPTION;"]
        made = [line.format(user, PASSWORD, right) for user, right in accounts for line in lines]
        statements.write_text("\n".join([*made, ""]))
        made = [f"--datadir={self.folder / 'data'}", f"--init-file={statements}"]
        argv = [server() or "", "--no-defaults", "--initialize-insecure", "--user=root", *made]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        (self.folder / "data/auto.cnf").unlink(missing_ok=True)

    def certify(self, root: Pair) -> None:
        """A certificate of one authority for all; the servers' own would all bear the same name."""
        leaf = make_leaf(root, LeafSpec(self.name, (self.name,), (self.address,)))
        for name, text in (("ca", root.certificate), ("crt", leaf.certificate), ("key", leaf.key)):
            (self.folder / f"{name}.pem").write_text(text)
        files = zip(("ca", "cert", "key"), ("ca", "crt", "key"), strict=True)
        self.options += [f"--ssl-{option}={self.folder / name}.pem" for option, name in files]

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        environment = {**os.environ, "MYSQLD_PARENT_PID": str(os.getpid())}
        self.process = subprocess.Popen(
            [server() or "", *self._argv()], stdout=log, stderr=log, env=environment
        )
        wait(self._answers, f"{self.name}: {self.folder / 'log'}")

    def restarted(self) -> bool:
        """Start it again when it ended by itself to be restarted, as systemd would."""
        if self.process is None or self.process.poll() != RESTART_EXIT:
            return False
        self.start()
        return True

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(SECONDS)

    def connect(self, user: str = "yiyun_admin", **more: Any) -> pymysql.Connection[Any]:
        # Threads of the group's plugin carry the address of whoever started it: not a client's.
        more = {"bind_address": "127.0.0.7", **more}
        return pymysql.connect(
            host=self.address, port=self.port, user=user, password=PASSWORD, autocommit=True, **more
        )

    def run(self, *statements: str) -> tuple[Any, ...] | None:
        """Statements; the first row of the last one."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchone()

    def config(self, members: dict[str, str]) -> dict[str, Any]:
        """What the role writes to /etc/yiyun/mysql-group.json."""
        return {
            "name": self.name,
            "members": members,
            "port": self.port,
            "group_port": self.group_ports[self.number - 1],
            "admin": {"user": "yiyun_admin", "password": PASSWORD},
            "recovery": {"user": "yiyun_group", "password": PASSWORD},
        }

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.MySQLError:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            return False
        return True

    def _argv(self) -> list[str]:
        # The group's links take an address of an interface only, and of the loopback that is this one.
        seeds = [f"127.0.0.1:{port}" for port in self.group_ports]
        return [
            "--no-defaults",
            "--user=root",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 's'}",
            f"--bind-address={self.address}",
            f"--port={self.port}",
            f"--server-id={self.number}",
            f"--report-host={self.address}",
            f"--report-port={self.port}",
            "--mysqlx=OFF",
            "--skip-name-resolve",
            "--secure-file-priv=NULL",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--transaction-isolation=READ-COMMITTED",
            "--innodb-buffer-pool-size=64M",
            "--innodb-redo-log-capacity=32M",
            "--max-connections=60",
            "--super-read-only=ON",
            "--persisted-globals-load=OFF",
            "--plugin-load-add=mysql_clone.so;group_replication.so",
            "--group-replication-start-on-boot=OFF",
            f"--group-replication-group-name={self.group}",
            f"--group-replication-local-address={seeds[self.number - 1]}",
            f"--group-replication-group-seeds={','.join(seeds)}",
            "--group-replication-ip-allowlist=127.0.0.0/8",
            "--group-replication-member-expel-timeout=0",
            "--group-replication-message-cache-size=134217728",
            "--group-replication-recovery-get-public-key=ON",
            "--group-replication-recovery-reconnect-interval=2",
            "--group-replication-unreachable-majority-timeout=0",
            *self.options,
        ]


MULTI_PRIMARY = (
    "--group-replication-single-primary-mode=OFF",
    "--group-replication-enforce-update-everywhere-checks=ON",
)


def join(member: Server, *, bootstrap: bool = False) -> None:
    """Begin, or join, the group."""
    start = f"START GROUP_REPLICATION USER = 'yiyun_group', PASSWORD = '{PASSWORD}'"
    flag = "SET GLOBAL group_replication_bootstrap_group = {}".format
    member.run(*((flag("ON"), start, flag("OFF")) if bootstrap else (start,)))


def wait(check: Any, what: str, seconds: float = SECONDS) -> None:
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit, what
        time.sleep(0.1)


@contextmanager
def group(folder: Path) -> Iterator[dict[str, Server]]:
    """Three members, ONLINE, with a probe table and a client's account."""
    ports, name = free_ports(4), str(uuid.uuid4())
    members = {
        f"db-{n}": Server(f"db-{n}", n, folder / f"db-{n}", ports[0], ports[1:], name, list(MULTI_PRIMARY))
        for n in (1, 2, 3)
    }
    with ExitStack() as stack:
        root = make_root("bed")
        for member in members.values():
            member.initialise()
            member.certify(root)
            stack.callback(member.end)
            member.start()
        first, *others = members.values()
        join(first, bootstrap=True)
        first.run(
            "CREATE DATABASE yiyun_probe",
            "CREATE TABLE yiyun_probe.proof (member VARCHAR(64) PRIMARY KEY,"
            " proved_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), count BIGINT NOT NULL DEFAULT 0)",
            "INSERT INTO yiyun_probe.proof (member) VALUES ('db-1'), ('db-2'), ('db-3')",
            "CREATE DATABASE yiyun_drill",
            f"CREATE USER 'yiyun_drill'@'%' IDENTIFIED BY '{PASSWORD}'",
            "GRANT ALL ON yiyun_drill.* TO 'yiyun_drill'@'%'",
        )
        for member in others:
            join(member)
        wait(lambda: all(online(m) == 3 for m in members.values()), "the group did not form")
        yield members


def online(member: Server) -> int:
    """How many members this one sees ONLINE."""
    counted = (
        "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'"
    )
    return int((member.run(counted) or (0,))[0])
