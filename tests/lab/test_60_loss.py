"""An app host is lost under load: nobody notices. The writer is killed: another one writes."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab.names import qualified
from tests.lab.hospital import signed_in
from tests.lab.load import Load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.harness import Lab


@pytest.fixture
def repaired(lab: Lab) -> Iterator[None]:
    yield
    assert lab.yiyun("lab", "up", "--yes").code == 0


def writer_seen_by(lab: Lab, host: str) -> str | None:
    return json.loads(lab.on(host, "yiyun-db-writer"))["writer"]


@pytest.mark.usefixtures("repaired")
def test_an_app_host_lost_under_load_fails_no_idempotent_request(lab: Lab, tmp_path: Path) -> None:
    with Load(f"{lab.page}/", lab.authority(tmp_path), signed_in(lab)) as load:
        eventually(lambda: load.served > 50, seconds=20)
        container = qualified(lab.estate.estate, "app-1")
        subprocess.run(["podman", "kill", "--signal", "KILL", container], check=True, capture_output=True)
        before = load.served
        eventually(lambda: load.served > before + 200, seconds=40)
    assert load.failures == []
    slowest = max(load.seconds)
    print(f"app host lost: {load.served} requests, none failed, slowest {slowest:.2f} s")  # noqa: T201
    status = lab.yiyun("status").json
    assert status["ok"] is False
    assert "app-1 does not answer" in status["problems"]


@pytest.mark.usefixtures("repaired")
def test_a_killed_writer_is_followed_by_another(lab: Lab) -> None:
    writer = lab.yiyun("status").json["mysql"]["writer"]
    assert writer
    lab.on(writer, "systemctl", "kill", "--signal=SIGKILL", "mysql")
    killed = time.monotonic()
    new = eventually(
        lambda: (w := writer_seen_by(lab, "app-1")) not in {None, writer} and w, seconds=20, every=0.05
    )
    print(f"writer {writer} killed, {new} writes after {time.monotonic() - killed:.2f} s")  # noqa: T201
    now = eventually(lambda: (s := lab.yiyun("status").json)["problems"] == [] and s, seconds=90, every=1.0)
    assert now["mysql"]["writer"] == new
