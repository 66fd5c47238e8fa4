"""A host made anew under an old name: its catalogue goes on, its stream begins another."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from server_kit import lacking, saving_host
from store_kit import in_a

from yiyun_backup.config import Config
from yiyun_backup.errors import BackupError
from yiyun_backup.lives import host_of, next_name, stream_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server_kit import Agent
    from store_kit import Region

needs_store = pytest.mark.skipif(
    bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}"
)


def test_each_life_has_a_stream_of_its_own() -> None:
    assert next_name("db-1", []) == "db-1"
    assert next_name("db-1", ["db-10", "db-2"]) == "db-1"
    assert next_name("db-1", ["db-1"]) == "db-1~2"
    assert next_name("db-1", ["db-1", "db-1~2", "db-1~11"]) == "db-1~12"
    assert (host_of("db-1"), host_of("db-1~12")) == ("db-1", "db-1")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Agent, dict[str, Region]]]:
    with saving_host(tmp_path) as (agent, stores, kept):
        (kept / "one").write_text("1")
        yield agent, stores


def save(agent: Agent) -> dict[str, Any]:
    return dict(json.loads(agent.run("save").stdout))


@needs_store
@pytest.mark.timeout(180)
def test_the_catalogue_goes_on_where_the_predecessor_ended(host: tuple[Agent, dict[str, Region]]) -> None:
    agent, stores = host
    assert save(agent)["entries"][0]["id"] == "db-1.1"
    assert save(agent)["entries"][0]["id"] == "db-1.2"
    shutil.rmtree(agent.folder / "state")
    stores["near"].stop()
    anew = save(agent)
    assert "error" in anew, "the near store is where files go first"
    stores["near"].start()
    assert save(agent)["entries"][0]["id"] == "db-1.3"
    assert json.loads(agent.run("check", "--own", "--region", "far").stdout)["problems"] == []


@needs_store
@pytest.mark.timeout(180)
def test_a_stream_is_named_by_what_the_stores_have_and_only_once(
    host: tuple[Agent, dict[str, Region]],
) -> None:
    agent, stores = host
    config = Config.read(agent.folder / "backup.toml")
    assert stream_name(config) == "db-1"
    config.store("far").put("log/db-1/000000000001", b"of the predecessor", in_a(minutes=3))
    assert stream_name(config) == "db-1", "it was decided"
    shutil.rmtree(agent.folder / "state")
    stores["near"].stop()
    assert stream_name(config) == "db-1~2"
    shutil.rmtree(agent.folder / "state")
    stores["far"].stop()
    with pytest.raises(BackupError):
        stream_name(config)
    assert not (agent.folder / "state/stream-name").exists()
    (agent.folder / "state/outbox").mkdir(parents=True)
    (agent.folder / "state/outbox/head.json").write_text("{}")
    assert stream_name(config) == "db-1", "a stream that goes on was named before there were lives"
