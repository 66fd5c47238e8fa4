"""MySQL health agent: says that this member serves, and only says it to the network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("mysql-health")


def test_says_online_and_ready(on: Machine) -> None:
    """A member may be a moment behind, and says so: it has ten seconds to catch up.

    Of a group that elects its writer itself, the others stand by.
    """
    state = on.json_of("mysql-health")
    assert state["sample"]["state"] == "ONLINE", state["sample"]
    if not state["ready"] and not (on.estate.database.single_primary and state["standby"]):
        url = on.health_url
        waited = on.shell.run(f"timeout 10 sh -c 'until curl -sf -o /dev/null {url}; do sleep 0.2; done'")
        assert waited.rc == 0, f"not ready for ten seconds: {state['reasons']}"


def test_a_group_that_elects_its_writer_has_one_that_may_write(
    on: Machine, everyone: dict[str, Machine]
) -> None:
    said = {
        m.name: m.json_of("mysql-health")["ready"]
        for m in everyone.values()
        if "mysql-health" in {s.name for s in m.services}
    }
    assert sum(said.values()) == 1 or not on.estate.database.single_primary, said


def test_runs_as_a_user_of_its_own(on: Machine) -> None:
    shown = on.shell.run("systemctl show --property=User --value yiyun-mysql-health")
    assert shown.stdout.strip() not in {"", "root", "mysql"}


def test_every_other_members_host_is_heard(on: Machine) -> None:
    """Who is not heard is not connected to by the group either: see yiyun-group-fence."""
    peers = json.loads(on.shell.run("cat /etc/yiyun-mysql-health.json").stdout)["peers"]
    listed = on.shell.run("nft --json list set inet yiyun_group_fence heard").stdout
    found = next(item["set"] for item in json.loads(listed)["nftables"] if "set" in item)
    heard = {entry["elem"]["val"] for entry in found.get("elem", [])}
    assert heard == set(peers)
