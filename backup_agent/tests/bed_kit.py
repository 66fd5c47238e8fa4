"""A bed brought to where a test begins: regions, a server, its agent; and a look at what was restored."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from server_kit import Agent, Bed, Transfers, eventually, program, serving
from store_kit import free_port, regions

from yiyun_backup import server as throwaway
from yiyun_backup.compare import differences, tables

if TYPE_CHECKING:
    from collections.abc import Iterator


class Looked(NamedTuple):
    """What a restored database holds: moves by id, each account's money, and its GTIDs."""

    moves: dict[int, tuple[int, int]]
    accounts: dict[int, int]
    gtids: str


@contextmanager
def bedded(folder: Path, transfers: type[Transfers] = Transfers) -> Iterator[Bed]:
    """Two regions, a server and its agent: nothing is saved yet, and no stream runs."""
    with regions(folder, "near", "far") as stores, serving(folder / "server", free_port()) as server:
        agent = Agent(folder / "agent", server, stores)
        agent.write()
        made = Bed(folder, server, agent)
        made.transfers = transfers(server)
        yield made


@contextmanager
def two_bases(folder: Path) -> Iterator[Bed]:
    """With two bases, the second taken under load, and a stream that has stored everything."""
    with bedded(folder) as made, made.streaming():
        with made.transfers.running():
            for _ in range(2):
                time.sleep(2)
                made.take_base()
            time.sleep(6)
        made.executed = made.server.executed()
        eventually(lambda: made.stored(made.executed), "not everything is stored")
        yield made


def look(target: Path) -> Looked:
    """Start a server on a restored database, and read it."""
    with throwaway.serving(Path(program("MYSQLD")), target) as server:
        moves = {int(row[0]): row[1:] for row in server.ask("SELECT id, source, target FROM bank.moves")}
        accounts = {int(a): int(money) for a, money in server.ask("SELECT id, money FROM bank.accounts")}
        gtids = server.ask("SELECT @@GLOBAL.gtid_executed")[0][0]
    return Looked(moves, accounts, "".join(gtids.split()))


def unlike_source(bed: Bed, target: Path) -> list[str]:
    """What a restored database holds that its source does not, or the other way round, in sentences."""
    with throwaway.serving(Path(program("MYSQLD")), target) as server:
        restored = list(tables(server.connect, lambda _: None))
    return differences(list(tables(bed.server.connect, lambda _: None)), restored)
