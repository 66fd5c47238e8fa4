"""One drill a family of faults: each passes, and whoever has the public key can believe its report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra.estate.loading import load_estate
from infra.trust.operator_key import OperatorKey, key_text
from runbooks.drills.faults import cgroups
from runbooks.drills.faults.machines import FREEZER, FROZEN
from runbooks.drills.faults.tool import Place
from runbooks.drills.kinds import HostFrozen
from tests.lab.harness import ROOT
from tests.lab.leaks import all_forms, files_with, values
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.harness import Lab

FAMILIES = {
    "mysql-writer-kill": "a process",
    "mysql-writer-freeze": "a host",
    "mysql-writer-isolate": "the network",
    "app-loss": "the platform, from outside",
}


@pytest.fixture(scope="module")
def issuer(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The public key of an issuer of these tests alone; the drills' folders go with it."""
    key = OperatorKey("drill-signing.pem", "YIYUN_DRILL_KEY_FILE")
    os.environ[key.variable] = str(tmp_path_factory.mktemp("issuer") / key.name)
    shutil.rmtree(lab.paths.drills, ignore_errors=True)
    yield key_text(key.private().public_key())
    shutil.rmtree(lab.paths.drills, ignore_errors=True)
    del os.environ[key.variable]


@pytest.mark.parametrize("drill", list(FAMILIES))
def test_a_drill_passes_and_its_report_is_believed(lab: Lab, issuer: str, drill: str, tmp_path: Path) -> None:
    answer = lab.yiyun("drill", "run", drill, "--yes", seconds=400)
    found = answer.json
    assert (answer.code, found.get("verdict"), found.get("reasons")) == (0, "passed", []), found
    assert (found["lost"], found["stale_reads"], found["rpo_s"]) == (0, 0, 0)
    assert found["acknowledged"] > 0
    print(f"{drill}: RTO {found['rto_s']} s, {found['acknowledged']} acknowledged")  # noqa: T201
    copied = lab.yiyun("drill", "report", "newest", "--to", str(tmp_path)).json["copy"]
    verified = lab.yiyun("drill", "verify", copied, "--key", issuer)
    assert verified.code == 0, verified.json
    assert {r["evidence"] for r in verified.json["reports"]} == {"whole"}
    assert len(verified.json["reports"]) == 5, "the report, and a page and a PDF in each language"


def test_all_of_them_are_one_chain(lab: Lab, issuer: str) -> None:
    answer = lab.yiyun("drill", "verify", str(lab.paths.drills), "--key", issuer)
    assert answer.code == 0, answer.json
    assert answer.json["head"].startswith(f"{len(FAMILIES)}:")


@pytest.mark.usefixtures("issuer")
def test_what_drills_leave_holds_no_secret_of_the_estate(lab: Lab) -> None:
    needles = all_forms(values(lab))
    probe = lab.paths.drills / "planted"
    probe.write_bytes(next(iter(needles)))
    assert list(files_with([lab.paths.drills], needles)) == [probe]
    probe.unlink()
    assert files_with([lab.paths.drills], needles) == {}


@pytest.mark.usefixtures("issuer")
def test_a_controller_that_is_killed_in_the_middle_is_followed_by_an_undo(lab: Lab) -> None:
    argv = [sys.executable, "-m", "cli.main", "drill", "run", "mysql-writer-kill", "--yes", "--estate"]
    before = set(lab.paths.drills.iterdir())
    with subprocess.Popen([*argv, str(lab.source), "--json"], cwd=ROOT, stdout=subprocess.PIPE) as controller:

        def broken() -> bool:
            made = [p for p in lab.paths.drills.iterdir() if p.is_dir() and p not in before]
            lines = [p / "journal.jsonl" for p in made if (p / "journal.jsonl").exists()]
            return any('"event": "effect"' in p.read_text(encoding="utf-8") for p in lines)

        eventually(broken, seconds=90, every=0.1)
        controller.send_signal(signal.SIGKILL)
    refused = lab.yiyun("drill", "run", "mysql-writer-kill", "--yes")
    assert (refused.code, "drill resume" in refused.json["error"]["hint"]) == (3, True), refused.json
    undone = lab.yiyun("drill", "resume").json["undone"]
    assert len(undone) == 1, json.dumps(undone)
    assert lab.yiyun("drill", "resume").json["undone"] == []
    eventually(lambda: lab.yiyun("status").json["problems"] == [], seconds=120, every=1.0)


@pytest.mark.parametrize("half", ["thawed", "frozen"])
def test_a_host_is_thawed_whatever_a_podman_killed_on_its_way_left_in_its_record(lab: Lab, half: str) -> None:
    """`podman unpause` killed after the kernel had thawed, `podman pause` before its record was written."""
    place = Place(load_estate(str(lab.source)).estate, lab.paths, "half")
    fault = HostFrozen(kind="host-frozen", host="app-2")
    order = FROZEN.order(fault, place)
    group = cgroups.host_group(place, "app-2", "freezer")
    name, still, runs = FREEZER[group.version]
    if half == "thawed":
        FROZEN.inject(fault, place)
        assert FROZEN.bites(fault, place)
        cgroups.write(group, {name: runs})
    else:
        cgroups.write(group, {name: still})
    assert not FROZEN.is_undone(order, place)
    FROZEN.undo(order, place)
    assert FROZEN.is_undone(order, place)
    eventually(lambda: lab.yiyun("status").json["problems"] == [], seconds=120, every=1.0)
