"""A server, two stores and the agent, on this machine, with the programs that lab hosts have."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server_kit import ACCOUNTS, PASSWORD, STATEMENTS, TOTAL, Agent, Server, program
from store_kit import free_port, regions

from infra.drivers.lab.objectstore_binary import ensure_objectstore_binary
from tests.mysqld import ensure_program
from yiyun_backup import server as throwaway
from yiyun_backup.base import copy_member
from yiyun_backup.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from store_kit import Region

NAMES = {
    "MYSQLD": "mysqld",
    "BINLOG": "mysqlbinlog",
    "DUMP": "mysqldump",
    "CLIENT": "mysql",
    "RESTIC": "restic",
    "RCLONE": "rclone",
}
"""`YIYUN_TEST_…` → the program that it names; what is not named comes from the bundle."""
SIZES = ("--innodb-buffer-pool-size=2G", "--innodb-redo-log-capacity=1G", "--max-binlog-size=64M")
NEAR, FAR = "near", "far"
TELLER = "teller"
"""Sees the tables of the transfers alone."""


@dataclass
class Bed:
    """What everybody has: the same source, the same two stores, the same disk."""

    folder: Path
    server: Server
    stores: dict[str, Region]
    agent: Agent

    @property
    def cold(self) -> Path:
        """The bytes that the rivals are given: what the agent itself saves, as CLONE made it."""
        return self.folder / "cold" / "data"

    @property
    def identity(self) -> Path:
        """What opens the log."""
        return self.agent.folder / "identity"

    def clone(self) -> int:
        """Make the cold copy. Returns its bytes."""
        source = Config.read(self.agent.folder / "backup.toml").sources()[0]
        told = copy_member(source, self.cold.parent, self._mysqld, "", lambda _step, _share: None)
        return told.bytes

    def serving(self, data: Path) -> AbstractContextManager[throwaway.Server]:
        """A server on restored data, to look into it."""
        return throwaway.serving(self._mysqld, data, options={"innodb-buffer-pool-size": "1G"})

    def begin_anew(self) -> None:
        """As if the agent had never saved anything."""
        for region in self.stores.values():
            region.empty()
        subprocess.run(["rm", "-rf", self.agent.folder / "state", self.agent.folder / "run"], check=True)

    @property
    def _mysqld(self) -> Path:
        return Path(program("MYSQLD"))


@contextmanager
def standing(folder: Path) -> Iterator[Bed]:
    """All of it, with the tables of the transfers, until the block ends."""
    _name_programs()
    os.environ.pop("AWS_CA_BUNDLE", None)  # of the machine; with it rclone refuses to start
    with ExitStack() as stack:
        stores = stack.enter_context(regions(folder, NEAR, FAR))
        server = Server(folder / "server", free_port(), options=SIZES)
        server.initialise()
        server.start()
        stack.callback(server.end)
        server.run(*STATEMENTS)
        rows = ", ".join(f"({number}, {TOTAL // ACCOUNTS})" for number in range(ACCOUNTS))
        server.run(f"INSERT INTO bank.accounts VALUES {rows}")  # noqa: S608
        server.run(f"CREATE USER {TELLER} IDENTIFIED BY '{PASSWORD}'", f"GRANT SELECT ON bank.* TO {TELLER}")
        agent = Agent(folder / "agent", server, stores, keep_days="1")
        agent.write()
        yield Bed(folder, server, stores, agent)


def _name_programs() -> None:
    def say(text: str) -> None:
        print(text, file=sys.stderr)  # noqa: T201  its progress

    for variable, name in NAMES.items():
        if not os.environ.get(f"YIYUN_TEST_{variable}"):
            os.environ[f"YIYUN_TEST_{variable}"] = str(ensure_program(name, say))
    if not os.environ.get("YIYUN_TEST_S3"):
        os.environ["YIYUN_TEST_S3"] = str(ensure_objectstore_binary(say))
