"""A real MySQL server with a workload of transfers, and an agent's configuration for it.

`YIYUN_TEST_MYSQLD`, `YIYUN_TEST_BINLOG` (mysqlbinlog), `YIYUN_TEST_DUMP` (mysqldump), `YIYUN_TEST_RESTIC` and
`YIYUN_TEST_S3` name the programs; without them the tests that need them skip.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pymysql
from pyrage import x25519
from store_kit import free_port, regions

from yiyun_backup import signed
from yiyun_backup.gtids import GtidSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from store_kit import Region

    from yiyun_backup.repository import Repository

PROGRAMS = ("MYSQLD", "BINLOG", "DUMP", "RESTIC", "S3")
PASSWORD = "bed-0123456789"
SECONDS = 60
ACCOUNTS, TOTAL = 20, 20_000
MOVES = "id BIGINT PRIMARY KEY AUTO_INCREMENT, source INT, target INT, money INT, note VARCHAR(40), pad BLOB"
STATEMENTS = (
    "CREATE DATABASE bank",
    "CREATE TABLE bank.accounts (id INT PRIMARY KEY, money INT NOT NULL)",
    f"CREATE TABLE bank.moves ({MOVES})",
)
RIGHTS = "REPLICATION SLAVE, REPLICATION CLIENT, BACKUP_ADMIN, PROCESS, SELECT, RELOAD"


def lacking(*programs: str) -> str:
    """What is not named, of those that are needed or of all, for the reason of a skip."""
    wanted = programs or PROGRAMS
    return ", ".join(f"YIYUN_TEST_{name}" for name in wanted if not os.environ.get(f"YIYUN_TEST_{name}"))


def program(name: str) -> str:
    return os.environ[f"YIYUN_TEST_{name}"]


@dataclass
class Server:
    """One server on a folder, reached at a port of 127.0.0.1."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()
    """Beside those below, and stronger."""

    def initialise(self) -> None:
        self.folder.mkdir(parents=True)
        lines = [
            f"CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}';" for user in ("admin", "yiyun_backup")
        ]
        lines += [
            "GRANT ALL ON *.* TO admin@'%' WITH GRANT OPTION;",
            f"GRANT {RIGHTS} ON *.* TO yiyun_backup@'%';",
            "",
        ]
        (self.folder / "init.sql").write_text("\n".join(lines))
        argv = [program("MYSQLD"), "--no-defaults", "--initialize-insecure", "--user=root"]
        argv += [f"--datadir={self.folder / 'data'}", f"--init-file={self.folder / 'init.sql'}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        argv = [program("MYSQLD"), "--no-defaults", "--user=root", f"--datadir={self.folder / 'data'}"]
        argv += [f"--port={self.port}", "--bind-address=127.0.0.1", "--mysqlx=OFF", "--server-id=1"]
        argv += [f"--socket={self.folder / 's'}", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"]
        argv += [
            "--log-bin=binlog",
            "--plugin-load-add=mysql_clone.so",
            "--loose-clone-block-ddl=ON",
            "--secure-file-priv=NULL",
            "--max-binlog-size=2M",
        ]
        argv += ["--innodb-buffer-pool-size=64M", "--innodb-redo-log-capacity=32M", *self.options]
        self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        limit = time.monotonic() + SECONDS
        while True:
            try:
                self.run("SELECT 1")
                return
            except pymysql.MySQLError:
                assert time.monotonic() < limit, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.1)

    def connect(self, user: str = "admin", client_flag: int = 0) -> Any:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=PASSWORD,
            autocommit=True,
            client_flag=client_flag,
        )

    def run(self, *statements: str) -> tuple[Any, ...] | None:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchone()

    def executed(self) -> str:
        (found,) = self.run("SELECT @@GLOBAL.gtid_executed") or ("",)
        return "".join(found.split())

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(SECONDS)


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Server]:
    server = Server(folder, port)
    server.initialise()
    server.start()
    try:
        server.run(*STATEMENTS)
        rows = ", ".join(f"({n}, {TOTAL // ACCOUNTS})" for n in range(ACCOUNTS))
        server.run(f"INSERT INTO bank.accounts VALUES {rows}")  # noqa: S608
        yield server
    finally:
        server.end()


@dataclass
class Transfers:
    """Clients that move money, each move with its own row, and the server's time just before and after."""

    server: Server
    clients: int = 3
    done: list[tuple[int, float, float]] = field(default_factory=list)
    """(id of the move, server's clock before the commit, and after it), seconds since 1970."""
    rest: float = 0.0
    """Seconds that each client waits between two moves."""

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._client, args=(n, stop)) for n in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _client(self, number: int, stop: threading.Event) -> None:
        pad, turn = b"\x07" * 500, 0
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            while not stop.wait(self.rest):
                turn += 1
                one, two = sorted(((number * 7 + turn) % ACCOUNTS, (number * 3 + turn * 5 + 1) % ACCOUNTS))
                cursor.execute("BEGIN")
                cursor.execute("UPDATE bank.accounts SET money = money - 1 WHERE id = %s", (one,))
                cursor.execute("UPDATE bank.accounts SET money = money + 1 WHERE id = %s", (two,))
                cursor.execute(
                    "INSERT INTO bank.moves (source, target, money, note, pad) VALUES (%s, %s, 1, NULL, %s)",
                    (one, two, pad),
                )
                move = cursor.lastrowid
                began = time.time()
                cursor.execute("COMMIT")
                self.committed(cursor, (move, one, two), (began, time.time()))

    def connect(self) -> Any:
        return self.server.connect()

    def committed(self, cursor: Any, move: tuple[int, int, int], span: tuple[float, float]) -> None:
        """After each commit. `move`: its id, the accounts from which and to which; `span`: as in `done`."""
        self.done.append((move[0], *span))


@dataclass
class Agent:
    """An agent's files, and its program as a process of its own."""

    folder: Path
    server: Server
    regions: dict[str, Region]
    identity: Any = field(default_factory=x25519.Identity.generate)
    key: str = field(default_factory=lambda: secrets.token_hex(32))
    other_key: Any = field(default_factory=signed.new_key)
    """Of another host that is trusted, `db-0`."""
    keep_days: str = "0.05"

    def write(self, host: str = "db-1") -> Path:
        f = self.folder
        f.mkdir(parents=True, exist_ok=True)
        (f / "key").write_text(self.key)
        public, other = signed.public_of(self.key), self.other_key.public_key().public_bytes_raw().hex()
        (f / "password").write_text("repository-0123")
        (f / "identity").write_text(f"{self.identity}\n")
        (f / "mysql.cnf").write_text(f"[client]\npassword={PASSWORD}\n")
        authorities = "".join((r.folder / "ca.pem").read_text() for r in self.regions.values())
        (f / "ca.pem").write_text(authorities)
        lines = [
            'estate = "test"',
            f'host = "{host}"',
            f'authority = "{f}/ca.pem"',
            f'recipients = ["{self.identity.to_public()}"]',
            f'signing_key = "{f}/key"',
            f'trusted = {{{host} = "{public}", db-0 = "{other}"}}',
            f'password = "{f}/password"',
            f'mysql_password = "{f}/password"',
            f'state = "{f}/state"',
            f'run = "{f}/run"',
            "[keep]",
            f"log = {self.keep_days}",
            f"base = {self.keep_days}",
            "[mysql]",
            f'members = [{{name = "{host}", host = "127.0.0.1", port = {self.server.port}}}]',
            f'options = "{f}/mysql.cnf"',
            f'program = "{os.environ.get("YIYUN_TEST_MYSQLD", "/none")}"',
            'owner = ""',
            f'staging = "{f}/staging"',
        ]
        for region in self.regions.values():
            secret = f / f"{region.name}.secret"
            secret.write_text(region.secrets["host"])
            lines += [
                "[[regions]]",
                f'name = "{region.name}"',
                f'endpoint = "https://127.0.0.1:{region.port}"',
                'bucket = "backups"',
                'account = "host"',
                f'secret = "{secret}"',
            ]
        config = f / "backup.toml"
        config.write_text("\n".join([*lines, ""]))
        return config

    def beside(self, folder: Path, regions: dict[str, Region], keep_days: str = "0.05") -> Agent:
        """Another agent with the same keys, of other stores."""
        made = Agent(folder, self.server, regions, self.identity, self.key, self.other_key, keep_days)
        made.write()
        return made

    def environment(self) -> dict[str, str]:
        """With the programs of the bundle first on PATH."""
        tools = self.folder / "bin"
        if not tools.exists():
            tools.mkdir()
            for name, named in (("mysqlbinlog", "BINLOG"), ("mysqldump", "DUMP"), ("restic", "RESTIC")):
                if not lacking(named):
                    (tools / name).symlink_to(program(named))
        return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

    def argv(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "yiyun_backup.command",
            words[0],
            "--config",
            str(self.folder / "backup.toml"),
            *words[1:],
        ]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{words[0]}.log").open("ab")
        return subprocess.Popen(self.argv(*words), env=self.environment(), stdout=log, stderr=log)


class Bed:
    """Everything: a server under a workload, its agent, the bases it took, and what the stream stored."""

    def __init__(self, folder: Path, server: Server, agent: Agent) -> None:
        self.folder, self.server, self.agent = folder, server, agent
        self.transfers = Transfers(server)
        self.bases: list[dict[str, Any]] = []
        self.executed = ""

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """The stream runs meanwhile."""
        stream = self.agent.start("stream")
        try:
            eventually((self.agent.folder / "run/stream.json").exists, "the stream tells nothing")
            yield
        finally:
            if stream.poll() is not None:
                sys.stderr.write((self.agent.folder / "stream.log").read_text()[-2000:])
            stream.send_signal(signal.SIGTERM)
            stream.wait(SECONDS)

    def take_base(self) -> None:
        done = self.agent.run("base")
        assert done.returncode == 0, done.stderr
        self.bases.append(json.loads(done.stdout))

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.agent.run("status").stdout))

    def stored(self, executed: str) -> bool:
        """Whether every region has everything up to a set."""
        note = self.agent.folder / "state/outbox/head.json"
        head = json.loads(note.read_text()) if note.exists() else {"held": "", "seq": 0}
        told = self.status()
        everywhere = all(r["stored"] == head["seq"] for r in told["regions"].values())
        return everywhere and GtidSet.parse(executed) <= GtidSet.parse(head["held"])

    def restore(self, name: str, *words: str, region: str = "far") -> dict[str, Any]:
        target = self.folder / name / "data"
        asked = ("--to", str(target), "--from", region, "--identity", str(self.agent.folder / "identity"))
        done = self.agent.run("restore", *asked, *words)
        assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
        return dict(json.loads(done.stdout)) | {"target": target}


@contextmanager
def saving_host(folder: Path) -> Iterator[tuple[Agent, dict[str, Region], Path]]:
    """An agent without a database that saves one folder as the service `etc`, its regions, and the folder."""
    with regions(folder, "near", "far") as stores:
        agent = Agent(folder / "agent", Server(folder / "none", free_port()), stores)
        config, kept = agent.write(), folder / "kept"
        kept.mkdir()
        item = ["[[items]]", 'service = "etc"', 'way = "files"', f'paths = ["{kept}"]', ""]
        config.write_text(config.read_text() + "\n".join(item))
        yield agent, stores, kept


def towards(repository: Repository) -> dict[str, str]:
    """What a restic of the tests' own is told, its store's key among it."""
    place = repository.place
    key = {
        "AWS_ACCESS_KEY_ID": place.account,
        "AWS_SECRET_ACCESS_KEY": place.secret_file.read_text(encoding="utf-8").strip(),
    }
    return repository.environment() | key


def eventually(check: Callable[[], bool], what: str, seconds: float = 240) -> None:
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit, what
        time.sleep(0.1)
