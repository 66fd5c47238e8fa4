"""A question to the database as it was: answered as of then, or refused, and nothing of it stays."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyrage import x25519
from server_kit import TOTAL, Bed, eventually, lacking, program

from yiyun_backup import query
from yiyun_backup import server as throwaway
from yiyun_backup.compare import tables
from yiyun_backup.errors import BadInputError

if TYPE_CHECKING:
    import subprocess

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(900),
]
COUNT = "SELECT COUNT(*), (SELECT SUM(money) FROM bank.accounts) FROM bank.moves"


def words(bed: Bed, folder: Path, statement: str, *more: str, identity: Path | None = None) -> list[str]:
    opens = identity or bed.agent.folder / "identity"
    return ["query", "--from", "far", "--in", str(folder), "--identity", str(opens), *more, statement]


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def test_a_question_is_answered_as_of_then(bed: Bed, tmp_path: Path) -> None:
    moves = sorted(bed.transfers.done, key=lambda m: m[2])
    moment = moves[len(moves) * 2 // 3][2]
    at = datetime.fromtimestamp(moment, UTC).isoformat()
    done = bed.agent.run(*words(bed, tmp_path, COUNT, "--at", at))
    assert done.returncode == 0, (done.stdout, done.stderr)
    ((count, money),) = told(done)["rows"]
    must = sum(ended <= moment for _, _, ended in moves)
    may = sum(began <= moment for _, began, _ in moves)
    assert must <= int(count) <= may < len(moves)
    assert int(money) == TOTAL
    assert told(done)["columns"][0] == "COUNT(*)"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO bank.moves (money) VALUES (1)",
        "DROP TABLE bank.moves",
        "SELECT * FROM bank.accounts INTO OUTFILE '{}/out'",
    ],
)
def test_what_would_change_or_write_is_bad_input(bed: Bed, tmp_path: Path, statement: str) -> None:
    folder = tmp_path / "in"
    done = bed.agent.run(*words(bed, folder, statement.format(tmp_path)))
    assert (done.returncode, told(done)["error"]["code"]) == (4, "bad_input"), done.stdout
    assert "the server refuses it" in told(done)["error"]["message"]
    assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


REFUSED = (
    "UPDATE bank.accounts SET money = 0",
    "DELETE FROM bank.moves",
    "TRUNCATE bank.moves",
    "CREATE TABLE bank.more (id INT PRIMARY KEY)",
    "ALTER TABLE bank.moves DROP COLUMN pad",
    "SELECT 1; DROP TABLE bank.moves",
    "COMMIT",
    "SET GLOBAL max_connections = 1",
    "GRANT ALL ON *.* TO yiyun_query@localhost",
    "CREATE USER x",
    "SHUTDOWN",
    "RESTART",
    "CLONE LOCAL DATA DIRECTORY = '/tmp/yiyun-never'",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE bank.moves",
    "SELECT * FROM bank.accounts FOR UPDATE INTO DUMPFILE '/tmp/yiyun-never'",
    "CALL bank.take_all()",
    "SELECT bank.take_one()",
    "nonsense",
)


def test_no_statement_changes_anything(bed: Bed) -> None:
    """Also one that ends the transaction by itself, or calls what runs with another one's rights."""
    target = bed.restore("asked")["target"]
    with throwaway.serving(Path(program("MYSQLD")), target) as server:
        server.ask(
            "CREATE PROCEDURE bank.take_all() UPDATE bank.accounts SET money = 0",
            "CREATE FUNCTION bank.take_one() RETURNS INT DETERMINISTIC BEGIN"
            " UPDATE bank.accounts SET money = 0; RETURN 1; END",
        )
        before = tables(server.connect, lambda _: None)
        for statement in REFUSED:
            with pytest.raises(BadInputError):
                query._read(server, statement)
        assert tables(server.connect, lambda _: None) == before
        assert query._read(server, "SELECT LOAD_FILE('/etc/passwd')")[1] == [[None]]
        names, rows, more = query._read(server, "SELECT x.id FROM bank.accounts x, bank.moves y")
        assert (names, len(rows), more) == (["id"], query.MOST_ROWS, True)


def test_a_wrong_or_missing_identity_is_named(bed: Bed, tmp_path: Path) -> None:
    other = x25519.Identity.generate()
    wrong = tmp_path / "wrong"
    wrong.write_text(f"{other}\n")
    folder = tmp_path / "in"
    done = bed.agent.run(*words(bed, folder, COUNT, identity=wrong))
    error = told(done)["error"]
    assert (done.returncode, error["code"]) == (1, "key"), error
    assert str(other.to_public()) in error["hint"]
    assert str(bed.agent.identity.to_public()) in error["hint"]
    assert str(other) not in done.stdout + done.stderr, "the secret half"
    assert list(folder.iterdir()) == []
    done = bed.agent.run(*words(bed, folder, COUNT, identity=tmp_path / "none"))
    assert (done.returncode, told(done)["error"]["code"]) == (1, "key")
    assert str(tmp_path / "none") in told(done)["error"]["message"]


def test_two_at_once_do_not_share_a_folder_and_a_killed_one_is_cleared(bed: Bed, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first = bed.agent.start(*words(bed, folder, COUNT))
    try:
        eventually((folder / "yiyun-once/data/ibdata1").exists, "nothing is restored")
        done = bed.agent.run(*words(bed, folder, COUNT))
        assert done.returncode == 3, done.stdout
        assert "is in use" in told(done)["error"]["message"]
        assert first.poll() is None, "the first one ended before the second was asked"
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert list(folder.iterdir())
    (folder / "data").mkdir()
    (folder / "data/mine").write_text("not of a query")
    done = bed.agent.run(*words(bed, folder, COUNT))
    assert done.returncode == 0, done.stdout
    assert [path.name for path in folder.rglob("*")] == ["data", "mine"]
