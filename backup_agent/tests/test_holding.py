"""Holds and pruning, on copies of both regions whose locks are over: what is held or needed stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from server_kit import Agent, Bed, lacking, program
from store_kit import BUCKET, Region, free_port

from yiyun_backup import server as throwaway
from yiyun_backup.compare import differences, tables
from yiyun_backup.config import Config
from yiyun_backup.keeping import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(900),
]
SIX_SECONDS = "0.00007"
"""In days: both bases are older, so the first one is over."""


@dataclass
class Old:
    """Both regions as they are when every lock is over."""

    agent: Agent
    bed: Bed

    def unlock(self, pattern: str) -> None:
        for region in self.agent.regions.values():
            for path in (region.folder / "objects" / BUCKET).glob(pattern):
                with suppress(OSError):
                    os.removexattr(path, "user.object-retention")

    def names(self) -> set[str]:
        found: set[str] = set()
        for name, region in self.agent.regions.items():
            root = region.folder / "objects" / BUCKET
            found |= {f"{name}/{p.relative_to(root)}" for p in root.rglob("*") if p.is_file()}
        return {name for name in found if "/locks/" not in name}

    def hold(self, *words: str, of: str = "") -> subprocess.CompletedProcess[str]:
        more = ("--by", "li", "--reason", "case 7")
        return self.agent.run("hold", "--of", of or str(self.bed.bases[0]["id"]), *words, *more)

    def prune(self, *words: str, account: str = "owner") -> tuple[int, dict[str, Any]]:
        secret = self.agent.folder / "pruning.secret"
        secret.write_text(self.agent.regions["near"].secrets[account])
        done = self.agent.run("prune", "--account", account, "--secret", str(secret), *words)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def needed(self, region: str = "far") -> set[str]:
        config = Config.read(self.agent.folder / "backup.toml")
        return {key for key, _ in needed(config, config.store(region))}


@pytest.fixture
def old(bed: Bed, tmp_path: Path) -> Iterator[Old]:
    regions = {}
    for name, region in bed.agent.regions.items():
        regions[name] = Region(name, tmp_path / name, free_port(), secrets=region.secrets)
        subprocess.run(["cp", "-a", str(region.folder), str(tmp_path / name)], check=True)
        regions[name].start()
    agent = bed.agent.beside(tmp_path / "agent", regions, SIX_SECONDS)
    shutil.copytree(bed.agent.folder / "state/catalogue", agent.folder / "state/catalogue")
    made = Old(agent, bed)
    made.unlock("*/**/*")
    time.sleep(1)
    yield made
    for region in regions.values():
        region.stop()


def log_of(names: set[str]) -> list[str]:
    return sorted(name for name in names if "log/" in name)


def test_a_hold_is_of_something_by_somebody_for_a_reason(old: Old) -> None:
    done = old.hold("--on")
    assert done.returncode == 0, done.stdout
    first = old.bed.bases[0]["id"]
    assert json.loads(done.stdout)["held"] == [first]
    listed = json.loads(old.agent.run("list", "--region", "far").stdout)["entries"][-1]
    assert listed["body"] == {"kind": "hold", "of": first, "on": True, "by": "li", "reason": "case 7"}
    assert json.loads(old.hold("--off").stdout)["held"] == []
    assert old.hold("--off").returncode == 4, "there is none any more"
    assert old.hold("--on", of="db-1.99").returncode == 4
    assert old.hold("--on", of=listed["id"]).returncode == 4, "a hold on a hold"
    done = old.agent.run("hold", "--of", first, "--on", "--by", " ", "--reason", "x")
    assert done.returncode == 4


def test_while_a_hold_is_on_its_base_and_its_log_are_extended(old: Old) -> None:
    store = old.agent.regions["far"].store()
    without = old.needed()
    assert old.hold("--on").returncode == 0
    held = old.needed()
    more = log_of(held - without)
    assert more, "the hold needs no more of the log than the newest base does"
    assert log_of(held) == sorted([*log_of(without), *more])
    assert store.kept_until(more[0]) is None
    done = old.agent.run("keep", "--region", "far")
    assert done.returncode == 0, done.stdout
    assert all(store.kept_until(key) is not None for key in more)
    old.unlock("*/**/*")
    assert old.hold("--off").returncode == 0
    assert old.agent.run("keep", "--region", "far").returncode == 0
    assert store.kept_until(more[0]) is None, "extended without need"
    assert store.kept_until(log_of(without)[0]) is not None


def test_nothing_counts_as_over_while_an_entry_cannot_be_read(old: Old) -> None:
    """It may be a hold."""
    assert old.hold("--on").returncode == 0
    held = old.needed()
    path = max((old.agent.regions["far"].folder / "objects" / BUCKET).glob("catalogue/db-1/*"))
    path.write_bytes(path.read_bytes()[:-1])
    assert log_of(old.needed()) == log_of(held)
    before = old.names()
    code, told = old.prune()
    assert (code, told["error"]["code"]) == (3, "refused"), told
    assert old.names() == before


def test_what_is_held_is_not_pruned_and_a_dry_run_removes_nothing(old: Old) -> None:
    first, before = old.bed.bases[0]["id"], old.names()
    code, told = old.prune("--dry-run")
    assert code == 0, told
    assert told["entries"] == [first]
    assert told["segments"]["far/db-1"] == told["segments"]["near/db-1"] > 0
    assert old.names() == before
    assert old.hold("--on").returncode == 0
    before = old.names()
    code, told = old.prune()
    assert (code, told["entries"], told["held"]) == (0, [], [first]), told
    assert not any(told["segments"].values())
    assert old.names() == before


def test_what_is_over_is_removed_and_the_rest_is_whole(old: Old, tmp_path: Path) -> None:
    before = old.names()
    first, snapshots = old.bed.bases[0]["id"], old.bed.bases[0]["body"]["snapshots"]
    needed_log = {region: set(log_of(old.needed(region))) for region in ("near", "far")}
    code, told = old.prune()
    assert code == 0, told
    after = old.names()
    assert told["entries"] == [first]
    for region, snapshot in snapshots.items():
        assert f"{region}/restic/mysql/snapshots/{snapshot}" in before - after
        left = {name.removeprefix(f"{region}/") for name in after if f"{region}/log/" in name}
        assert left == needed_log[region]
        versions = (old.agent.regions[region].folder / "versions").rglob("*")
        assert not [path for path in versions if path.is_file() and "locks" not in str(path)]
        checked = old.agent.run("check", "--region", region, "--all")
        assert checked.returncode == 0, checked.stdout
    listed = json.loads(old.agent.run("list", "--region", "far").stdout)["entries"][-1]
    assert listed["body"] == {"kind": "pruned", "of": [first]}
    target = tmp_path / "restored/data"
    opens = str(old.bed.agent.folder / "identity")
    words = ("--to", str(target), "--from", "far", "--identity", opens, "--gtid", old.bed.executed)
    done = old.agent.run("restore", *words)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["warnings"] == []
    with throwaway.serving(Path(program("MYSQLD")), target) as server:
        restored = list(tables(server.connect, lambda _: None))
    assert differences(list(tables(old.bed.server.connect, lambda _: None)), restored) == []
    code, told = old.prune()
    assert (code, told["entries"], sum(told["segments"].values())) == (0, [], 0), "again: nothing"
    assert old.hold("--on").returncode == 3, "its data was removed"


def test_nothing_goes_while_what_is_to_stay_is_not_there(old: Old) -> None:
    newest = old.bed.bases[1]["body"]["snapshots"]["far"]
    folder = old.agent.regions["far"].folder / "objects" / BUCKET
    (folder / "restic/mysql/snapshots" / newest).unlink()
    far = {name for name in old.names() if name.startswith("far/")}
    code, told = old.prune()
    assert code == 1
    assert any("far: mysql: 1 snapshot(s) that are to stay" in text for text in told["problems"]), told
    assert {name for name in old.names() if name.startswith("far/")} == far
    listed = json.loads(old.agent.run("list", "--region", "near").stdout)["entries"][-1]
    assert listed["body"]["kind"] != "pruned", "the far region still has it"


def test_a_host_prunes_nothing_and_what_is_locked_stays(old: Old) -> None:
    before = old.names()
    code, told = old.prune(account="host")
    assert code == 1, told
    assert told["problems"]
    assert before <= old.names()
    locked = sorted((old.agent.regions["far"].folder / "objects" / BUCKET).glob("log/db-1/*"))[1]
    until = b'{"Mode":"COMPLIANCE","RetainUntilDate":"2999-01-01T00:00:00Z"}'
    os.setxattr(locked, "user.object-retention", until)
    code, told = old.prune()
    assert code == 0, told
    assert (told["segments"]["far/db-1"], told["locked"]) == (1, 1)
    assert locked.exists()
