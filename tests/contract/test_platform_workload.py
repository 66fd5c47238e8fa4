"""The drill's workload against the real platform on a real MySQL: what it says is held, or seen missing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.history import read_history
from runbooks.drills.workloads import guests
from runbooks.drills.workloads.platform import Settings
from tests.beds.platform import NAME, Platform, running_mysql, running_platform, sql
from tests.beds.workload import begin, end
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks.drills.evidence.history import Held, Operation

ROOT = Path(__file__).parents[2]
PASSWORD = "a password of a drill"
CLIENTS = 3

pytestmark = pytest.mark.timeout(900)  # the server may have to be unpacked from a bundle that is built first


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_mysql(tmp_path_factory.mktemp("mysql")) as port:
        yield port


@pytest.fixture
def platform(mysql: int, tmp_path: Path) -> Iterator[Platform]:
    with running_platform(mysql, tmp_path) as made:
        yield made


@pytest.fixture
def admitted(platform: Platform, mysql: int) -> Iterator[tuple[str, ...]]:
    """Account and residents as `guests` makes them, by the very words it uses at a host."""
    words = re.search(r"yiyun-app (user set.*)$", guests.ENTER, re.MULTILINE)
    assert words
    sql(mysql, guests.LEAVE)
    platform.command(*[w.strip("'") for w in words[1].split()], told=f"{PASSWORD}\n")
    numbers = guests.record_numbers(CLIENTS)
    sql(mysql, guests.admission(numbers))
    yield numbers
    sql(mysql, guests.LEAVE)


def asking(platform: Platform, residents: tuple[str, ...], history: Path) -> subprocess.Popen[str]:
    settings = Settings(
        address="127.0.0.1",
        port=platform.port,
        name=NAME,
        authority=platform.authority,
        username=guests.ACCOUNT,
        password=PASSWORD,
        residents=list(residents),
        run="0123456789abcdef",
        connect_timeout=1,
        read_timeout=4,
        clients=CLIENTS,
        rate=30,
        seconds=60,
        seed=7,
    )
    return begin("runbooks.drills.workloads.platform", settings, history)


def stored(platform: Platform, mysql: int) -> Held:
    """What the database holds, less what is not in the store, as the script for app hosts judges it."""
    data = sql(mysql, guests.HELD)
    return guests.as_held("db-1", data, damaged(platform, data["rows"] or []))


def damaged(platform: Platform, rows: list[list[str]]) -> list[str]:
    settings = platform.folder / "app.env"
    settings.write_text("".join(f"{k}={v}\n" for k, v in platform.environment.items()))
    argv = [sys.executable, "-c", guests.FILES, str(settings), "0.1"]
    told = json.dumps([[key, digest] for _, _, key, digest in rows])
    return json.loads(subprocess.run(argv, input=told, capture_output=True, text=True, check=True).stdout)


def acknowledged(history: list[Operation]) -> list[Operation]:
    return [op for op in history if op.acknowledged]


def test_a_platform_killed_under_load_holds_each_acknowledged_file_once(
    platform: Platform, admitted: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    process = asking(platform, admitted, tmp_path / "history.jsonl")
    time.sleep(2)  # load before the kill, as a drill has it
    platform.kill()
    time.sleep(1)
    platform.start()
    eventually(lambda: len(acknowledged(read_history(tmp_path / "history.jsonl"))) > 25, seconds=30)
    end(process)
    history, held = read_history(tmp_path / "history.jsonl"), stored(platform, mysql)
    assert check(history, [held], 0).violations == ()
    assert {op.member for op in history if op.outcome == "ok"} == {socket.gethostname()}
    assert {op.outcome for op in history if op.kind == "get"} >= {"ok"}
    assert any(op.tries > 1 for op in history), "the outage was met, and asked again under the same key"
    reads = [op.value for op in history if op.kind == "get" and op.outcome == "ok"]
    assert max(v or 0 for v in reads) > 0, "readers see what desks store"

    one = next(op for op in history if op.acknowledged)
    sql(mysql, f"DELETE FROM yiyun.attachment WHERE file_name = '{one.value}.pdf'")  # noqa: S608
    found = check(history, [stored(platform, mysql)], 0)
    assert [v.fault for v in found.violations] == ["lost"]


def test_a_file_that_the_store_forgot_is_a_lost_write(
    platform: Platform, admitted: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    process = asking(platform, admitted, tmp_path / "history.jsonl")
    eventually(lambda: len(acknowledged(read_history(tmp_path / "history.jsonl"))) > 3, seconds=30)
    end(process)
    history = read_history(tmp_path / "history.jsonl")
    assert check(history, [stored(platform, mysql)], 0).violations == ()
    changed, gone, *_ = [p for p in (platform.folder / "attachments").rglob("*") if p.is_file()]
    changed.write_bytes(b"something else")
    assert [v.fault for v in check(history, [stored(platform, mysql)], 0).violations] == ["lost"]
    gone.unlink()
    assert [v.fault for v in check(history, [stored(platform, mysql)], 0).violations] == ["lost"] * 2
    del platform.environment["YIYUN_APP_ATTACHMENTS_MOUNTED"]
    with pytest.raises(subprocess.CalledProcessError):
        stored(platform, mysql)  # a folder that should be a mount and is none proves nothing


def test_what_the_workload_made_goes_with_it_and_its_account_opens_nothing(
    platform: Platform, admitted: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    process = asking(platform, admitted, tmp_path / "history.jsonl")
    eventually(lambda: len(acknowledged(read_history(tmp_path / "history.jsonl"))) > 3, seconds=30)
    end(process)
    assert sql(mysql, guests.HELD)["rows"]
    sql(mysql, guests.LEAVE)
    for table in ("resident", "attachment", "staff_user", "login_session", "idempotency_key"):
        assert sql(mysql, f"SELECT JSON_ARRAY(COUNT(*)) FROM yiyun.{table}") == [0], table  # noqa: S608
    sql(mysql, guests.LEAVE)
    again = subprocess.run(
        [sys.executable, "-m", "runbooks.drills.workloads.platform", str(tmp_path / "none")],
        cwd=ROOT,
        input=Settings(
            address="127.0.0.1",
            port=platform.port,
            name=NAME,
            authority=platform.authority,
            username=guests.ACCOUNT,
            password=PASSWORD,
            residents=list(admitted),
            run="x",
            clients=1,
            rate=1,
            seconds=1,
            seed=1,
        ).model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert "401" in again.stderr
    assert PASSWORD not in again.stderr
