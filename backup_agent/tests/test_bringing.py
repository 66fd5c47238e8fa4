"""What was saved on a host comes back from one region alone, whole, into an empty folder only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from server_kit import lacking, saving_host
from test_needs import files, written

from yiyun_backup.bringing import newest_of
from yiyun_backup.catalogue import Copied, Pruned
from yiyun_backup.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server_kit import Agent
    from store_kit import Region

needs_store = pytest.mark.skipif(
    bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}"
)


def test_the_newest_that_the_region_has_is_taken() -> None:
    whole, near = files("etc"), files("etc").model_copy(update={"snapshots": {"near": "aa"}})
    late = Copied(of="db-3.2", region="far", snapshot="bb")
    entries = written("db-3", (whole, 3), (near, 2), (files("other"), 1))["db-3"]
    assert newest_of(entries, "db-3", "etc", "near").id == "db-3.2"
    assert newest_of(entries, "db-3", "etc", "far").id == "db-3.1"
    assert (
        newest_of(written("db-3", (whole, 3), (near, 2), (late, 1))["db-3"], "db-3", "etc", "far").id
        == "db-3.2"
    )
    with pytest.raises(BadInputError) as told:
        newest_of(entries, "db-1", "etc", "far")
    assert "db-3/etc, db-3/other" in told.value.hint
    gone = written("db-3", (whole, 3), (Pruned(of=("db-3.1",)), 1))["db-3"]
    with pytest.raises(BadInputError):
        newest_of(gone, "db-3", "etc", "far")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Agent, dict[str, Region]]]:
    with saving_host(tmp_path) as (agent, stores, kept):
        (kept / "deep").mkdir()
        (kept / "deep/one").write_text("as it was")
        assert agent.run("save").returncode == 0
        yield agent, stores


def bring(agent: Agent, to: Path, password: Path, *more: str) -> tuple[int, dict[str, Any]]:
    words = ("--host", "db-1", "--service", "etc", "--to", str(to), "--password", str(password))
    done = agent.run("files", *words, *more)
    return done.returncode, json.loads(done.stdout)


@needs_store
@pytest.mark.timeout(120)
def test_files_come_back_from_the_far_region_alone_and_into_an_empty_folder_only(
    host: tuple[Agent, dict[str, Region]], tmp_path: Path
) -> None:
    agent, stores = host
    password, to = agent.folder / "password", tmp_path / "back"
    stores["near"].stop()
    code, told = bring(agent, to, password, "--from", "far")
    assert code == 0, told
    assert (to / str(tmp_path / "kept")[1:] / "deep/one").read_text() == "as it was"
    assert not (to / ".yiyun-unfinished").exists()
    code, told = bring(agent, to, password, "--from", "far")
    assert (code, "not empty" in told["error"]["message"]) == (3, True), told
    wrong = tmp_path / "wrong"
    wrong.write_text("another")
    code, told = bring(agent, tmp_path / "other", wrong, "--from", "far")
    assert code != 0
    assert "password" in told["error"]["message"]
    assert (tmp_path / "other/.yiyun-unfinished").exists()
