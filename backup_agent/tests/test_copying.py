"""What did not arrive in a region: found in the catalogue, brought later, and then as good as any other."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from server_kit import eventually, lacking, saving_host
from store_kit import in_a
from test_needs import BASE, files, written

from yiyun_backup import repository
from yiyun_backup.bases import bases_in
from yiyun_backup.catalogue import Copied, Pruned, ReadBack
from yiyun_backup.checking import expected
from yiyun_backup.config import Config
from yiyun_backup.copying import missing
from yiyun_backup.journal import summary

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from server_kit import Agent
    from store_kit import Region

HERE = BASE.model_copy(update={"snapshots": {"near": "ab12"}})
LATER = Copied(of="db-3.1", region="far", snapshot="ef56")
BOTH = ["near", "far"]


def test_what_lacks_a_region_is_found_and_who_has_it() -> None:
    entries = written("db-3", (HERE, 2), (BASE, 1), (HERE, 0))["db-3"]
    assert [(e.id, here, there) for e, here, there in missing(entries, BOTH)] == [
        ("db-3.3", "near", "far"),
        ("db-3.1", "near", "far"),
    ]
    assert list(missing(written("db-3", (HERE, 2), (LATER, 1))["db-3"], BOTH)) == []
    assert list(missing(written("db-3", (HERE, 2), (Pruned(of=("db-3.1",)), 1))["db-3"], BOTH)) == []


def test_a_copy_that_came_later_is_as_good_for_a_restore_a_check_and_the_summary() -> None:
    entries = written("db-3", (HERE, 2), (LATER, 1))["db-3"]
    (base,) = bases_in(entries)
    assert base.body.model_dump()["snapshots"] == {"near": "ab12", "far": "ef56"}
    assert expected(entries, BASE.repository, "far") == {"db-3.1": "ef56"}
    assert summary(entries)["base"]["snapshots"] == {"near": "ab12", "far": "ef56"}


def test_the_summary_has_each_region_that_was_read_back() -> None:
    back = ReadBack(region="near", part=1, of=7, segments=3, read_bytes=9, repositories=("db-3",))
    far = back.model_copy(update={"region": "far", "problems": ("gone",)})
    told = summary(written("db-3", (files("etc"), 2), (back, 1), (far, 1), (Pruned(of=("a.1",)), 0))["db-3"])
    assert set(told) == {"first", "snapshot etc", "read-back near", "read-back far", "pruned"}
    assert told["read-back far"]["problems"] == ["gone"]
    assert "of" not in told["pruned"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Agent, dict[str, Region]]]:
    """An agent with a file to save, and no database."""
    with saving_host(tmp_path) as (agent, stores, kept):
        (kept / "one").write_bytes(os.urandom(5000))
        yield agent, stores


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def unlocked(stores: dict[str, Region]) -> list[str]:
    """Objects that could be removed now, by whoever may remove; locks of restic are to be."""
    return [
        item.key
        for region in stores.values()
        for item in region.store().list("")
        if "/locks/" not in item.key and region.store().kept_until(item.key) is None
    ]


@pytest.mark.skipif(bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}")
@pytest.mark.timeout(300)
def test_a_region_that_was_away_gets_what_it_lacks(host: tuple[Agent, dict[str, Region]]) -> None:
    agent, stores = host
    stores["far"].stop()
    saved = told(agent.run("save"))
    assert not saved["ok"]
    assert list(saved["entries"][0]["body"]["snapshots"]) == ["near"]
    assert unlocked({"near": stores["near"]}) == []
    stores["far"].start()
    cared = told(agent.run("care"))
    assert (cared["ok"], cared["problems"]) == (True, []), cared
    assert [(c["of"], c["region"]) for c in cared["copied"]] == [(saved["entries"][0]["id"], "far")]
    summed = json.loads((agent.folder / "state/summary.json").read_text())
    assert set(summed["snapshot etc"]["snapshots"]) == {"near", "far"}
    assert summed["read-back far"]["repositories"] == ["db-1"]
    assert told(agent.run("care"))["copied"] == [], "again: nothing"
    assert unlocked(stores) == [], "a lock does not wait for the day's care"
    checked = told(agent.run("check", "--own", "--all", "--region", "far"))
    assert (checked["repositories"], checked["problems"]) == (["db-1"], [])


@pytest.mark.skipif(bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}")
@pytest.mark.timeout(300)
def test_damage_is_written_down_and_stops_no_other_region(host: tuple[Agent, dict[str, Region]]) -> None:
    agent, stores = host
    assert told(agent.run("save"))["ok"]
    (snapshot,) = (stores["near"].folder / "objects/backups/restic/db-1/snapshots").iterdir()
    snapshot.unlink()
    cared = told(agent.run("care"))
    assert not cared["ok"]
    assert [text for text in cared["problems"] if "near: db-1: snapshot" in text and "is gone" in text], cared
    summed = json.loads((agent.folder / "state/summary.json").read_text())
    assert summed["read-back near"]["problems"] == cared["problems"]
    assert summed["read-back far"]["problems"] == []


@pytest.mark.skipif(bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}")
@pytest.mark.timeout(300)
def test_what_is_asked_for_its_output_is_not_told_the_stores_key(
    host: tuple[Agent, dict[str, Region]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database's dump runs as the database's user, who could read it in its own environment."""
    agent, _ = host
    monkeypatch.setenv("PATH", agent.environment()["PATH"])
    config = Config.read(agent.folder / "backup.toml")
    near = config.repository("db-1", "near")
    repository.ensure(near)
    look = ["sh", "-c", "env; for f in /proc/self/fd/*; do readlink $f || true; done"]
    saved = repository.save(near, [], ["test"], lambda *_: None, stdin_of=look, name="look")
    repository.bring_back(near, saved.snapshot, agent.folder / "back", lambda *_: None)
    (found,) = (agent.folder / "back").rglob("look")
    said = found.read_text(encoding="utf-8")
    assert "AWS_SHARED_CREDENTIALS_FILE=" in said
    assert near.place.secret_file.read_text(encoding="utf-8").strip() not in said
    assert "store-key" not in said.replace("AWS_SHARED", "")


@pytest.mark.skipif(bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}")
@pytest.mark.timeout(300)
def test_what_was_seen_since_is_no_measure_for_the_store_as_it_was(
    host: tuple[Agent, dict[str, Region]],
) -> None:
    agent, stores = host
    assert told(agent.run("save"))["ok"]
    then = datetime.now(UTC)
    eventually(lambda: datetime.now(UTC) > then + timedelta(seconds=1), "time stands still")
    assert told(agent.run("save"))["ok"]
    assert told(agent.run("check", "--region", "far"))["problems"] == []
    was = told(agent.run("check", "--region", "far", "--as-of", then.isoformat()))
    assert (was["entries"], was["problems"]) == (1, []), was
    now = told(agent.run("check", "--region", "far"))
    assert (now["entries"], now["problems"]) == (2, []), "what was then is not taken for what is"
    lost = stores["far"].store()
    newest = max(item.key for item in lost.list("catalogue/"))
    lost.put(newest, b"{}", in_a(minutes=1))
    assert told(agent.run("check", "--region", "far"))["problems"] != []
