"""One table as it was at a moment: dumped from a throwaway restore, read in elsewhere, and equal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from server_kit import Bed, lacking

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not named: {lacking()}"),
    pytest.mark.timeout(600),
]


def words(bed: Bed, folder: Path, table: str, to: Path) -> list[str]:
    opens = str(bed.agent.folder / "identity")
    asked = ["table", "--table", table, "--to", str(to), "--from", "far", "--identity", opens]
    return [*asked, "--in", str(folder), "--gtid", bed.executed]


def test_a_table_is_read_in_again_and_equal(bed: Bed, tmp_path: Path) -> None:
    to = tmp_path / "moves.sql"
    done = bed.agent.run(*words(bed, tmp_path / "in", "bank.moves", to))
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    told = json.loads(done.stdout)
    (rows,) = bed.server.run("SELECT COUNT(*) FROM bank.moves") or (0,)
    assert told["rows"] == rows > 0
    text = to.read_text()
    assert "DROP TABLE" not in text
    assert "GTID_PURGED" not in text
    parts = [part.strip() for part in text.split(";\n")]
    statements = [p for p in parts if p and not p.startswith(("/*", "--", "LOCK", "UNLOCK"))]
    bed.server.run("CREATE DATABASE again", "USE again", *statements)
    try:
        sums = [bed.server.run(f"CHECKSUM TABLE {schema}.moves") for schema in ("bank", "again")]
        assert len({s[1] for s in sums if s}) == 1
    finally:
        bed.server.run("DROP DATABASE again")
    assert list((tmp_path / "in").iterdir()) == []
    again = bed.agent.run(*words(bed, tmp_path / "in", "bank.moves", to))
    assert again.returncode == 4, "a file that is there"


@pytest.mark.parametrize("table", ["bank", "bank.moves; DROP", "bank.nothing"])
def test_what_is_no_table_is_said_so(bed: Bed, tmp_path: Path, table: str) -> None:
    done = bed.agent.run(*words(bed, tmp_path / "in", table, tmp_path / "x.sql"))
    assert done.returncode == 4, done.stdout
    assert [path.name for path in tmp_path.iterdir()] in ([], ["in"])
