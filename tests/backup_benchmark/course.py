"""The run itself: load, save in rounds, write, restore in rounds, compare; the rivals in between."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from server_kit import TOTAL, Transfers, eventually
from server_kit import Bed as AgentBed

from tests.backup_benchmark import looks
from tests.backup_benchmark.bed import FAR, NEAR, TELLER, Bed
from tests.backup_benchmark.loading import Loaded, load
from tests.backup_benchmark.rivals import DUMP, Rivals
from tests.backup_benchmark.stopwatch import Run, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from yiyun_backup.catalogue import TableSum

Turn = TypeVar("Turn")
SAMPLE = ("bash", "-o", "pipefail", "-c", 'tar -C "$0" -c . | zstd -3 -q | wc -c')


@dataclass(frozen=True)
class Asked:
    """What is run. `size`: bytes of pages; `transfers`: in the log."""

    size: int
    rounds: int
    transfers: int
    seed: int


@dataclass
class Course:
    """What is known so far."""

    bed: Bed
    rivals: Rivals
    asked: Asked
    measured: defaultdict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    stored: dict[str, int] = field(default_factory=dict[str, int])
    verified: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    base: dict[str, Any] = field(default_factory=dict[str, Any])
    middle: dict[str, Any] = field(default_factory=dict[str, Any])
    """When it was, and what the agent's `sum` said of the source then."""
    unwritten: list[TableSum] = field(default_factory=list["TableSum"])
    """What the source held before the first transfer, and at the end."""
    newest: list[TableSum] = field(default_factory=list["TableSum"])

    def run(self) -> None:
        """All of it. Raises FailedError and AssertionError: a result that is not whole is none."""
        self.prepare()
        for number in range(self.asked.rounds):
            self.saves(number)
        self._agent_saves_again()
        with self.streaming():
            self.write()
            self.checks()
            for number in range(self.asked.rounds):
                self.restores(number)
            self.restore_middle()
        self.restore_dump()

    def measure(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None, folder: Any = None
    ) -> Run:
        """Take the time of one command."""
        done = timed(argv, environment or self.bed.agent.environment(), folder)
        self.measured[name].append(done)
        say(f"{name}: {done.seconds:.1f} s {done.phases or ''}")
        return done

    def agent(self, *words: str) -> list[str]:
        """The agent as a host runs it."""
        return self.bed.agent.argv(*words)

    def prepare(self) -> None:
        """The county, a cold copy of its pages, and how well they compress."""
        loaded = load(self.bed.server, self.asked.seed, self.asked.size, self.bed.folder / "load")
        say(f"loaded in {loaded.seconds} s: {loaded.rows}")
        self.rivals.prepare()
        size = self.bed.clone()
        packed = subprocess.run([*SAMPLE, str(self.bed.cold)], capture_output=True, text=True, check=True)
        self.data = described(loaded, size, int(packed.stdout))
        say(f"{self.data}")

    def saves(self, number: int) -> None:
        """Everybody saves the same bytes to empty stores; who begins changes from round to round."""
        turns = [self._agent_saves, self._rclone_saves, self._restic_saves, self._dump_saves]
        for turn in in_turn(turns, number):
            turn()

    def _agent_saves(self) -> None:
        self.bed.begin_anew()
        self.base = self.measure("agent base", self.agent("base")).answer
        assert self.base["problems"] == [], self.base
        self.stored["agent base"] = self._stored_by_agent(NEAR)
        self.stored["agent base, far"] = self._stored_by_agent(FAR)

    def _agent_saves_again(self) -> None:
        """Nothing was written in between."""
        before = self._stored_by_agent(NEAR)
        done = self.measure("agent base again", self.agent("base"))
        assert done.answer["problems"] == [], done.answer
        self.stored["agent base again"] = self._stored_by_agent(NEAR) - before

    def _stored_by_agent(self, region: str) -> int:
        return sum(item.size for item in self.bed.stores[region].store("owner").list(""))

    def _rclone_saves(self) -> None:
        for region in (NEAR, FAR):
            self.rivals.clear(region, "rclone")
        self.measure("rclone out", self.rivals.rclone_out())
        self.measure("rclone over", self.rivals.rclone_over())
        for region, name in ((NEAR, "rclone out"), (FAR, "rclone over")):
            self.stored[name] = self.rivals.stored(region, "rclone")
            assert self.stored[name] == self.data["bytes"], (name, self.stored[name])
        self.rivals.clear(FAR, "rclone")

    def _restic_saves(self) -> None:
        self.rivals.clear(NEAR, "restic")
        environment = self.rivals.restic_environment()
        timed(self.rivals.restic("init"), environment)
        words = ("backup", "--quiet", self.bed.cold.name)
        self.measure("restic out", self.rivals.restic(*words), environment, self.bed.cold.parent)
        self.stored["restic out"] = self.rivals.stored(NEAR, "restic")

    def _dump_saves(self) -> None:
        self.rivals.clear(NEAR, DUMP)
        self.measure("mysqldump out", self.rivals.dump_out())
        self.stored["mysqldump out"] = self.rivals.stored(NEAR, DUMP)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """With the log on its way to both stores."""
        stream = self.bed.agent.start("stream")
        try:
            eventually((self.bed.agent.folder / "run/stream.json").exists, "the stream tells nothing")
            yield
        finally:
            stream.send_signal(signal.SIGTERM)
            stream.wait(30)

    def write(self) -> None:
        """Transfers, with a pause in the middle in which the agent reads the source."""
        server, transfers = self.bed.server, Transfers(self.bed.server)
        before = self._transfers_seen()
        began = time.monotonic()
        self._transfers(transfers, self.asked.transfers // 2)
        first_s = time.monotonic() - began
        (at,) = server.run("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%f+00:00')") or ("",)
        summed = self.measure("agent sum", self.agent("sum")).answer
        assert summed["gtids"] == server.executed()
        self.middle = {"at": at, "transfers": len(transfers.done), "summed": summed}
        began = time.monotonic()
        self._transfers(transfers, self.asked.transfers)
        self.data["log"] = {
            "transfers": len(transfers.done),
            "per_s": round(len(transfers.done) / (first_s + time.monotonic() - began)),
        }
        executed = server.executed()
        stream = AgentBed(self.bed.folder, server, self.bed.agent)
        eventually(lambda: stream.stored(executed), "not everything is stored")
        self.newest = looks.changed(looks.summed(summed), self._transfers_seen())
        self.unwritten = looks.changed(self.newest, before)
        self.data["log"]["stored_bytes"] = sum(
            item.size for item in self.bed.stores[NEAR].store("owner").list("log/")
        )

    def _transfers_seen(self) -> list[TableSum]:
        return looks.sums(lambda: self.bed.server.connect(TELLER))

    @staticmethod
    def _transfers(transfers: Transfers, count: int) -> None:
        with transfers.running():
            eventually(lambda: len(transfers.done) >= count, "the transfers take too long", 1200)

    def checks(self) -> None:
        """Every byte of both regions is read back."""
        for region in (NEAR, FAR):
            done = self.measure(f"agent check {region}", self.agent("check", "--all", "--region", region))
            assert done.answer["problems"] == [], done.answer
        argv = self.rivals.restic("check", "--read-data")
        self.measure("restic check", argv, self.rivals.restic_environment())

    def restores(self, number: int) -> None:
        """Everybody brings the same bytes back; the agent also brings the newest state.

        What the last round brought is compared with the source.
        """
        last = number == self.asked.rounds - 1
        turns = [self._base_back, self._rclone_back, self._restic_back, self._newest_back]
        for turn in in_turn(turns, number):
            with self.target() as target:
                turn(target, last)

    @contextmanager
    def target(self) -> Iterator[Path]:
        """Where a restore goes, with nothing there; and nothing stays."""
        folder = self.bed.folder / "restored"
        folder.mkdir()
        yield folder / "data"
        shutil.rmtree(folder)

    def _restore(self, name: str, target: Path, *words: str) -> str:
        """Restore from the near region. Returns the set that is there now."""
        told = ("--to", str(target), "--from", NEAR, "--identity", str(self.bed.identity))
        done = self.measure(f"agent restore {name}", self.agent("restore", *told, *words))
        return str(done.answer["gtids"])

    def _base_back(self, target: Path, last: bool) -> None:
        gtids = self.base["body"]["gtids"]
        assert self._restore("base", target, "--base", self.base["id"], "--gtid", gtids) == gtids
        if last:
            self._compare("base", target, self.unwritten)

    def _newest_back(self, target: Path, last: bool) -> None:
        assert self._restore("newest", target) == self.bed.server.executed()
        if last:
            self._compare("newest", target, self.newest)

    def _rclone_back(self, target: Path, last: bool) -> None:
        self.measure("rclone back", self.rivals.rclone_back(target))
        if last:
            self.verified["rclone back"] = looks.files(self.bed.cold, target)

    def _restic_back(self, target: Path, last: bool) -> None:
        argv = self.rivals.restic("restore", "--quiet", "latest", "--target", str(target.parent))
        self.measure("restic back", argv, self.rivals.restic_environment())
        if last:
            self.verified["restic back"] = looks.files(self.bed.cold, target)

    def _compare(self, name: str, data: Path, source: Sequence[TableSum]) -> None:
        with self.bed.serving(data) as server:
            found = looks.rows(source, server.connect)
            ((money,),) = server.ask("SELECT SUM(money) FROM bank.accounts")
        assert money == TOTAL, (name, money)
        self.verified[f"agent restore {name}"] = found
        say(f"{name} is as the source was: {found}")

    def restore_middle(self) -> None:
        """As of the pause between the transfers."""
        summed = self.middle["summed"]
        with self.target() as target:
            reached = self._restore("middle", target, "--at", self.middle["at"])
            assert reached == summed["gtids"], (reached, summed["gtids"])
            self._compare("middle", target, looks.summed(summed))

    def restore_dump(self) -> None:
        """The statements into an empty server."""
        server = self.rivals.empty_server()
        try:
            self.measure("mysqldump back", self.rivals.dump_back(server))
            self.verified["mysqldump back"] = looks.rows(self.unwritten, server.connect)
        finally:
            server.end()
            shutil.rmtree(server.folder)


def described(loaded: Loaded, size: int, packed: int) -> dict[str, Any]:
    """The data, as the result has it. Pure."""
    return {
        "bytes": size,
        "gib": round(size / 2**30, 2),
        "rows": loaded.rows,
        "load_s": loaded.seconds,
        "zstd_3_ratio": round(size / packed, 2),
    }


def in_turn(turns: Sequence[Turn], number: int) -> list[Turn]:
    """Another one begins in each round. Pure."""
    first = number % len(turns)
    return [*turns[first:], *turns[:first]]


def say(text: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201
