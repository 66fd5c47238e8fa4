"""The stream of the database's log: on its way to every region within seconds, and without a hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("backup-log")
BEHIND_S = 10.0


def streams(on: Machine) -> bool:
    """Two hosts stream; the others are ready to."""
    return on.name in [h.name for h in on.estate.hosts_with("db")][:2]


def test_the_stream_reaches_every_region_and_has_no_hole(on: Machine) -> None:
    if not streams(on):
        return
    told = on.json_of("backup-log")
    assert told["source"], "no source"
    assert told["hole"] == ""
    behind = {region: state["behind_s"] for region, state in told["regions"].items()}
    assert max(behind.values()) < BEHIND_S, behind
    assert {region: state["problem"] for region, state in told["regions"].items()} == dict.fromkeys(
        behind, ""
    )


def test_who_streams_reads_no_secret_but_its_own(on: Machine) -> None:
    shown = on.shell.run("systemctl show --property=User --value yiyun-backup-stream")
    assert shown.stdout.strip() == "yiyun-backup"
    tried = on.shell.run("runuser -u yiyun-backup -- cat /etc/yiyun-backup/mysql.password")
    assert tried.rc != 0
