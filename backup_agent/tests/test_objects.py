"""A bucket and its copy: what is lacking, and an object as it was before somebody wrote over it or hid it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from server_kit import Agent, Server, eventually, lacking
from store_kit import BUCKET, free_port, in_a, regions

from yiyun_backup import objects
from yiyun_backup.store import Item, as_of, written_at

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def item(key: str, minutes_ago: float, size: int = 5, version: str = "", *, marker: bool = False) -> Item:
    return Item(key, size, NOW - timedelta(minutes=minutes_ago), version, marker=marker)


def test_what_the_copy_lacks_is_named_unless_it_is_new() -> None:
    original = [item("a", 60), item("b", 60), item("c", 60, size=6), item("new", 1)]
    copied = [item("a", 59), item("c", 59), item("only-here", 59)]
    assert objects.lacking(original, copied, NOW - objects.LATE) == ["b", "c"]
    assert objects.lacking(original, [*copied, item("b", 1), item("c", 1, size=6)], NOW) == ["new"]


def test_the_version_of_a_moment_is_the_newest_one_before_it() -> None:
    versions = [item("k", 30, version="1"), item("k", 20, version="2"), item("k", 10, marker=True)]
    versions += [item("k2", 1, version="other")]

    def version(minutes_ago: float | None) -> str | None:
        at = None if minutes_ago is None else NOW - timedelta(minutes=minutes_ago)
        found = as_of((v for v in versions if v.key == "k"), at)
        return found and found.version

    assert [version(m) for m in (40, 30, 25, 15)] == [None, "1", "1", "2"]
    assert version(5) is None, "it was hidden then"
    assert version(None) is None


def test_a_version_is_as_old_as_its_id_says_where_that_says_it() -> None:
    later = datetime(2026, 11, 28, 23, 41, 37, tzinfo=UTC)
    written = written_at("01M8J8J4SSTGJS6ES63AXMN2YG", later)
    assert timedelta(seconds=3) < later - written < timedelta(seconds=5)
    for other in ("null", "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrH", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"):
        assert written_at(other, later) == later


@pytest.mark.skipif(bool(lacking("RESTIC", "S3")), reason=f"not named: {lacking('RESTIC', 'S3')}")
def test_an_object_comes_back_as_it_was_and_a_copy_is_compared(tmp_path: Path) -> None:
    with regions(tmp_path, "near", "far") as stores:
        agent = Agent(tmp_path / "agent", Server(tmp_path / "none", free_port()), stores)
        config = agent.write()
        lines = ["cares = true", *config.read_text().splitlines()]
        for region, more in (("near", ""), ("far", f'copy_of = "{BUCKET}"')):
            name = BUCKET if region == "near" else f"{BUCKET}-far"
            secret = f'secret = "{agent.folder / f"{region}.secret"}"'
            lines += ["[[buckets]]", f'name = "{name}"', f'region = "{region}"', 'account = "host"']
            lines += [secret, more]
        config.write_text("\n".join([*lines, ""]))
        store = stores["near"].store()
        store.put("files/one", b"first", in_a(minutes=1))
        (version,) = store.versions("files/one")
        between = version.modified + timedelta(seconds=1.1)  # some stores' times are whole seconds
        eventually(lambda: datetime.now(UTC) > between + timedelta(seconds=1), "time stands still")
        store.put("files/one", b"ransom", in_a(minutes=1))
        words = ("object", "--bucket", BUCKET, "--key", "files/one", "--to")
        for at, content in ((("--at", between.isoformat()), b"first"), ((), b"ransom")):
            to = tmp_path / f"got-{content.decode()}"
            done = agent.run(*words, str(to), *at)
            assert done.returncode == 0, done.stdout
            assert to.read_bytes() == content
            assert json.loads(done.stdout)["bytes"] == len(content)
        early = agent.run(*words, str(tmp_path / "x"), "--at", "2020-01-01T00:00:00Z")
        assert early.returncode == 4, early.stdout
        assert "it is there from 20" in json.loads(early.stdout)["error"]["hint"]
        again = agent.run(*words, str(tmp_path / "got-first"))
        assert again.returncode == 4, "a file that is there"
        other = agent.run("object", "--bucket", "x", "--key", "k", "--to", str(tmp_path / "x"))
        assert f"there are: {BUCKET}, {BUCKET}-far" in json.loads(other.stdout)["error"]["hint"]
