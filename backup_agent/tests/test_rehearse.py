"""A restore test writes what it found into the catalogue: also a difference, and it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from server_kit import Bed, eventually, lacking

from yiyun_backup.catalogue import Summed
from yiyun_backup.config import Config
from yiyun_backup.sums import newest_sums

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(900),
]


def words(bed: Bed, folder: Path) -> list[str]:
    opens = bed.agent.folder / "identity"
    return ["rehearse", "--from", "far", "--in", str(folder), "--identity", str(opens)]


def newest(bed: Bed, kind: str) -> dict[str, Any]:
    listed = json.loads(bed.agent.run("list", "--region", "far").stdout)
    assert listed["problems"] == []
    return dict([e for e in listed["entries"] if e["body"]["kind"] == kind][-1])


@pytest.fixture
def summed(bed: Bed) -> Bed:
    done = bed.agent.run("sum")
    assert done.returncode == 0, done.stderr
    eventually(lambda: bed.stored(json.loads(done.stdout)["gtids"]), "not everything is stored")
    return bed


def test_a_restore_that_equals_its_source_is_written_as_ok(summed: Bed, tmp_path: Path) -> None:
    done = summed.agent.run(*words(summed, tmp_path))
    assert done.returncode == 0, (done.stdout, done.stderr)
    entry = newest(summed, "tested")
    assert entry["body"]["ok"] is True
    assert entry["body"]["of"] == newest(summed, "summed")["id"]
    assert entry["body"]["region"] == "far"
    assert entry["id"] == json.loads(done.stdout)["id"]
    assert list(tmp_path.iterdir()) == []


def plant(bed: Bed, **changes: Any) -> None:
    """One more reading, signed by the host's own key, that says something else."""
    config = Config.read(bed.agent.folder / "backup.toml")
    entry = newest_sums(config, config.store())
    assert entry is not None
    assert isinstance(entry.body, Summed)
    body = entry.body.model_copy(update=changes.pop("whole", {}))
    tables = tuple(t.model_copy(update=changes) if t.name == "moves" else t for t in body.tables)
    told = body.model_copy(update={"tables": tables})
    _, problems = config.journal.add(told, datetime.now(UTC), config.stores(), timedelta(days=1))
    assert problems == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checksum": "0" * 32}, "bank.moves has other content in as many rows"),
        ({"rows": 1}, "rows, not 1"),
        ({"name": "movements"}, "bank.movements is missing; bank.moves was not there"),
        ({"whole": {"gtids": "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9"}}, "transaction"),
    ],
)
def test_a_difference_fails_and_is_written_all_the_same(
    summed: Bed, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    plant(summed, **changes)
    done = summed.agent.run(*words(summed, tmp_path))
    assert done.returncode == 1, done.stdout
    assert json.loads(done.stdout)["ok"] is False
    entry = newest(summed, "tested")
    assert entry["id"] == json.loads(done.stdout)["id"]
    assert entry["body"]["ok"] is False
    assert said in entry["body"]["problem"]
    assert entry["body"]["of"] == newest(summed, "summed")["id"]
    assert list(tmp_path.iterdir()) == []


def servers_on(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


def test_a_killed_one_is_cleared_by_the_next(summed: Bed, tmp_path: Path) -> None:
    before = newest(summed, "summed")["id"]
    running = summed.agent.start(*words(summed, tmp_path))
    eventually((tmp_path / "yiyun-once/data.log").exists, "no server was started")
    refused = summed.agent.run(*words(summed, tmp_path / "other"))
    assert (refused.returncode, "a restore test is running" in refused.stdout) == (3, True), refused.stdout
    running.send_signal(signal.SIGKILL)
    running.wait()
    eventually(lambda: servers_on(tmp_path) == [], "the server outlives what started it", 10)
    assert list(tmp_path.iterdir())
    done = summed.agent.run(*words(summed, tmp_path))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert newest(summed, "tested")["body"]["of"] == before
    assert [p.name for p in tmp_path.iterdir() if p.name != "other"] == []


def compare(bed: Bed, gtids: str) -> tuple[int, dict[str, Any]]:
    done = bed.agent.run("compare", "--gtid", gtids, "--from", "far")
    return done.returncode, dict(json.loads(done.stdout))


def test_a_member_is_held_beside_what_its_source_had_at_a_set(summed: Bed) -> None:
    """As a rehearsal does with the member that it restored, before anybody may write to it."""
    gtids = newest(summed, "summed")["body"]["gtids"]
    code, told = compare(summed, gtids)
    assert (code, told["problems"], told["lacking"]) == (0, [], 0), told
    assert told["of"] == newest(summed, "summed")["id"]
    row = "SET SESSION sql_log_bin = 0", "UPDATE bank.accounts SET money = money {} 1 WHERE id = 1"
    summed.server.run(row[0], row[1].format("+"))
    try:
        code, told = compare(summed, gtids)
        assert (code, told["problems"]) == (1, ["bank.accounts has other content in as many rows"])
    finally:
        summed.server.run(row[0], row[1].format("-"))
    code, told = compare(summed, "4e11fa47-71ca-11e1-9e33-c80aa9429562:1-9")
    assert (code, "no reading of that set" in told["error"]["message"]) == (4, True), told
