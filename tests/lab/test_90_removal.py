"""`destroy` keeps data; `lab down` leaves nothing of the lab, and touches nothing else."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab.names import prefix
from infra.drivers.lab.realise import leftovers
from monitoring.access import opened
from tests.lab.hospital import arrive, new_results
from tests.lab.long import long

if TYPE_CHECKING:
    from tests.lab.foreign import Foreign
    from tests.lab.harness import Lab


def things_of_others(lab: Lab) -> dict[str, set[str]]:
    """Containers, namespaces and mounts of this machine that are not this lab's."""

    def lines(*argv: str) -> set[str]:
        return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines())

    # A container's own mounts carry its id, not its name; the containers themselves are compared by name.
    mine = prefix(lab.estate.estate), str(lab.paths.root), "/overlay-containers/"
    found = {
        "containers": lines("podman", "ps", "-a", "--format", "{{.Names}}"),
        "namespaces": {line.split()[0] for line in lines("ip", "netns", "list")},
        "mounts": lines("findmnt", "-rn", "-o", "TARGET"),
        "loops": lines("losetup", "-ln", "-O", "BACK-FILE"),
        "tables": lines("nft", "list", "tables"),
    }
    return {kind: {x for x in names if not any(m in x for m in mine)} for kind, names in found.items()}


@pytest.mark.usefixtures("foreign")
def test_destroy_without_yes_is_refused(lab: Lab) -> None:
    answer = lab.yiyun("destroy")
    assert answer.code == 3
    assert lab.yiyun("preview", "--exit-code").code == 0


@long
def test_an_estate_that_is_built_again_has_the_data_that_destroy_kept(lab: Lab) -> None:
    """The databases are taken up from their disks on new hosts: residents' results, and Zabbix's own."""
    orders = new_results(lab, 2)
    arrive(lab, orders)
    began = int(time.time())
    assert lab.yiyun("destroy", "--yes").code == 0
    answer = lab.yiyun("up", "--yes", seconds=2400)
    assert answer.code == 0, answer.json.get("error") or answer.json
    arrive(lab, orders)
    history = {"history": 3, "sortfield": "clock", "limit": 1, "time_till": began}
    kept = opened(lab.estate, lab.paths).call("history.get", {"output": ["clock"], **history})
    assert kept, "values from before are still there"
    assert lab.yiyun("preview", "--exit-code").code == 0


def test_destroy_keeps_disks_buckets_and_addresses(lab: Lab) -> None:
    planned = lab.yiyun("destroy", "--dry-run").json
    answer = lab.yiyun("destroy", "--yes")
    assert answer.code == 0, answer.json
    assert answer.json["changes"] == planned["changes"]
    kinds = {name.split("-")[0] for name in answer.json["protected"]}
    # The addresses stand in the bandwidth package, so it stays with them.
    assert kinds == {"disk", "bucket", "elasticip", "bandwidthpackage"}
    kept = {path.stem for path in (lab.paths.records / "Disk").glob("*.json")}
    assert "db-1-data" in kept
    assert not list((lab.paths.records / "Host").glob("*.json"))


def test_down_leaves_nothing_and_touches_nothing_else(lab: Lab, foreign: Foreign) -> None:
    """`foreign` was a host of the estate if test_80 ran: not even that makes it the lab's."""
    others, running = things_of_others(lab), foreign.container
    assert running is not None
    announced = lab.yiyun("lab", "down", "--dry-run").json["found"]
    assert announced
    assert lab.yiyun("lab", "down").code == 3
    assert lab.yiyun("lab", "down", "--yes").code == 0
    assert leftovers(lab.estate.estate) == ()
    assert not lab.paths.root.exists()
    assert things_of_others(lab) == others
    assert foreign.container == running
    assert (foreign.root / "etc/passwd").exists()
