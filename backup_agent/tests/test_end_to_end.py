"""A server under a workload, its stream and base in two regions, and restores to moments chosen by a seed."""

from __future__ import annotations

import random
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bed_kit import look, unlike_source
from server_kit import TOTAL, Bed, eventually, lacking, program

from yiyun_backup import server as throwaway
from yiyun_backup.catalogue import Base
from yiyun_backup.errors import RefusedError
from yiyun_backup.gtids import GtidSet
from yiyun_backup.restore import _must_fit
from yiyun_backup.server import ServerError

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(600),
]


def test_the_newest_state_is_restored_from_the_far_region_and_equals_the_source(bed: Bed) -> None:
    assert [b["problems"] for b in bed.bases] == [[], []]
    done = bed.restore("newest")
    sys.stderr.write(f"{done}\n")
    assert done["gtids"] == bed.executed
    assert unlike_source(bed, done["target"]) == []
    assert not list(done["target"].glob("relay*"))
    assert not list(done["target"].glob("*.pem"))  # keys that a server makes for itself belong in no backup


@pytest.mark.parametrize("number", range(3))
def test_a_moment_has_exactly_what_was_committed_before_it(bed: Bed, number: int) -> None:
    moves = sorted(bed.transfers.done, key=lambda m: m[2])
    after_base = [m for m in moves if m[1] > moves[0][1] + 4]
    moment = random.Random(number).choice(after_base)[2]  # noqa: S311
    done = bed.restore(f"at-{number}", "--at", datetime.fromtimestamp(moment, UTC).isoformat())
    found, accounts, gtids = look(done["target"])
    must = {move for move, _, ended in moves if ended <= moment}
    may = {move for move, began, _ in moves if began <= moment}
    assert must <= found.keys() <= may, (len(must), len(found), len(may))
    assert sum(accounts.values()) == TOTAL
    assert gtids == done["gtids"]


def test_before_a_transaction_and_a_given_set(bed: Bed) -> None:
    done = bed.restore("given", "--gtid", bed.executed)
    assert done["gtids"] == bed.executed
    gtids = GtidSet.parse(bed.executed)
    (source, ((first, last),)) = next(iter(gtids.intervals.items()))
    assert first == 1
    done = bed.restore("before", "--before", f"{source}:{last - 50}", region="near")
    assert GtidSet.parse(done["gtids"]) == GtidSet.parse(f"{source}:1-{last - 51}")


def test_a_folder_with_anything_in_it_is_left_alone(bed: Bed) -> None:
    target = bed.folder / "full"
    target.mkdir()
    (target / "ibdata1").write_text("mine")
    done = bed.agent.run("restore", "--to", str(target), "--identity", str(bed.agent.folder / "identity"))
    assert (done.returncode, "is not empty" in done.stderr) == (3, True)
    assert (target / "ibdata1").read_text() == "mine"


def test_a_killed_restore_leaves_its_target_marked_and_begins_anew(bed: Bed) -> None:
    target = bed.folder / "killed" / "data"
    opens = str(bed.agent.folder / "identity")
    running = bed.agent.start("restore", "--to", str(target), "--from", "far", "--identity", opens)
    eventually((target / "ibdata1").exists, "nothing is restored")
    running.kill()
    running.wait()
    assert "unfinished" in (target / ".yiyun-unfinished").read_text()
    (target / "left.ibd").write_text("by the first one")
    assert bed.restore("killed")["gtids"] == bed.executed
    assert not (target / ".yiyun-unfinished").exists()
    assert not (target / "left.ibd").exists()


def test_a_base_that_does_not_fit_is_refused_before_anything_is_written(bed: Bed, tmp_path: Path) -> None:
    body = Base.model_validate(bed.bases[0]["body"])
    _must_fit(body, tmp_path)
    with pytest.raises(RefusedError, match="MiB free, the base alone needs"):
        _must_fit(body.model_copy(update={"bytes": 10**15}), tmp_path)


def test_a_server_that_is_killed_while_it_shuts_down_did_not_end_cleanly(bed: Bed) -> None:
    target = bed.restore("unclean")["target"]
    with (
        pytest.raises(ServerError, match="did not end cleanly"),
        throwaway.serving(Path(program("MYSQLD")), target) as server,
    ):
        server.ask = lambda *_: server._process.kill()


def test_a_base_that_no_server_runs_on_is_taken_away_again(bed: Bed, tmp_path: Path) -> None:
    agent = bed.agent.beside(tmp_path / "agent", bed.agent.regions)
    config = agent.folder / "backup.toml"
    config.write_text(config.read_text().replace(program("MYSQLD"), "/bin/false"))
    done = agent.run("base")
    assert (done.returncode, "the server did not start" in done.stdout) == (1, True), done.stdout
    assert not (agent.folder / "staging/data").exists()


def test_a_password_that_is_another_one_is_named(bed: Bed, tmp_path: Path) -> None:
    agent = bed.agent.beside(tmp_path / "agent", bed.agent.regions)
    (agent.folder / "password").write_text("another")
    words = ("--to", str(tmp_path / "data"), "--identity", str(bed.agent.folder / "identity"))
    done = agent.run("restore", *words)
    assert (done.returncode, str(agent.folder / "password") in done.stderr) == (1, True), done.stderr


def test_a_time_that_is_not_covered_says_what_is(bed: Bed) -> None:
    words = ("--to", str(bed.folder / "never"), "--identity", str(bed.agent.folder / "identity"))
    done = bed.agent.run("restore", *words, "--at", "2030-01-01T00:00:00+08:00")
    assert (done.returncode, "the log ends at" in done.stderr) == (4, True), done.stderr


def test_the_stream_goes_on_after_it_was_killed_and_holds_everything(bed: Bed) -> None:
    with closing(bed.server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO bank.moves (money) VALUES (1)")
    eventually(lambda: bed.stored(bed.server.executed()), "not stored")
    bed.executed = bed.server.executed()
