"""The rival's configuration is one that HAProxy takes, with one active server."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from infra.estate.loading import load_estate
from tests.beds import routers
from tests.rivals.usual_router import usual_config

if TYPE_CHECKING:
    from pathlib import Path


def test_one_server_is_active_and_the_others_are_backups() -> None:
    lines = [line.split() for line in usual_config(load_estate("lab")).splitlines() if "server db" in line]
    assert [(line[1], "backup" in line) for line in lines] == [
        ("db-1", False),
        ("db-2", True),
        ("db-3", True),
    ]


@pytest.mark.skipif(routers.program() is None, reason="no haproxy; YIYUN_TEST_HAPROXY names it")
def test_haproxy_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    text = usual_config(load_estate("lab")).replace("    user haproxy\n    group haproxy\n", "")
    file.write_text(text, encoding="ascii")
    done = subprocess.run(
        [routers.program() or "", "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
