"""The real engine, our provider and the lab's driver, over records in a temporary folder."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from infra.drivers.lab.driver import LabDriver
from infra.engine.bootstrap import engine_at_hand
from infra.engine.stack import Engine
from infra.errors import BadInputError, RefusedError, YiyunError
from infra.estate.loading import load_estate
from infra.estate.plan import plan_resources
from infra.paths import EstatePaths
from infra.resources import PROTECTED_KINDS, Disk, Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate

pytestmark = [
    pytest.mark.skipif(engine_at_hand() is None, reason="the engine is not built: make test builds it"),
    pytest.mark.timeout(300),
]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIiHl5jMbCj1g3Kp2OeWbTOvPLdkC3l8 operators"
LAB = load_estate("lab")
PLANNED = plan_resources(LAB, KEY)


def engine_in(root: Path, estate: Estate = LAB, said: list[str] | None = None) -> Engine:
    note: Callable[[str], None] = (lambda _: None) if said is None else said.append
    return Engine(estate, EstatePaths("lab", root), note, authorized_key=KEY)


def records_in(root: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in (root / "lab" / "records").rglob("*.json"):
        found.setdefault(path.parent.name, set()).add(path.stem)
    return found


def planned_records() -> dict[str, set[str]]:
    expected: dict[str, set[str]] = {}
    for resource in PLANNED:
        expected.setdefault(resource.kind, set()).add(resource.inputs.name)
    return expected


def edited(tmp_path: Path, text: str) -> Estate:
    file = tmp_path / "edited.yaml"
    file.write_text(f"extends: lab\nestate: lab\n{text}", encoding="utf-8")
    return load_estate(str(file))


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raised")
    result = engine_in(root).up()
    assert result.counts == {"create": len(PLANNED)}
    return root


@pytest.fixture
def up(raised: Path, tmp_path: Path) -> Path:
    """An estate that is up, for one test alone."""
    return Path(shutil.copytree(raised, tmp_path / "state"))


def test_up_writes_exactly_the_planned_resources(raised: Path) -> None:
    assert records_in(raised) == planned_records()


def test_a_first_preview_shows_creations_and_writes_nothing(tmp_path: Path) -> None:
    plan = engine_in(tmp_path).preview()
    assert {c.resource for c in plan.changes} == {p.logical_name for p in PLANNED}
    assert plan.counts == {"create": len(PLANNED)}
    assert records_in(tmp_path) == {}


def test_a_second_run_changes_nothing_and_says_so(up: Path) -> None:
    assert engine_in(up).preview().changes == ()
    assert engine_in(up).up().changed == 0
    assert engine_in(up).read_drift().changes == ()


def test_outputs_name_the_addresses(raised: Path) -> None:
    outputs = engine_in(raised).outputs()
    assert outputs["hosts"]["db-1"] == "10.20.2.10"
    assert set(outputs["elastic_ips"]) == {"lb-web", "host-ops-1", "host-app-2"}


def test_a_changed_rule_shows_exactly_that_property(up: Path, tmp_path: Path) -> None:
    estate = edited(tmp_path, "internet: {operators: [198.51.100.101/32]}\n")
    plan = engine_in(up, estate).preview()
    bastion = {c.resource: c for c in plan.changes}["securitygroup-ops-1"]
    assert (bastion.action, [p.name for p in bastion.properties]) == ("update", ["rules"])
    (change,) = bastion.properties
    assert {rule["peer"] for rule in change.declared} == {"198.51.100.101/32"}
    assert {rule["peer"] for rule in change.actual} == {"198.51.100.100/32"}
    # The operators' networks are named by bastions, and by the store that has the copies.
    assert {c.kind for c in plan.changes} == {"SecurityGroup", "ObjectStore"}
    (store,) = [c for c in plan.changes if c.kind == "ObjectStore"]
    assert (store.resource, [p.name for p in store.properties]) == ("objectstore-s3-cn-east-2", ["rules"])


def test_a_hand_made_change_is_drift_and_up_puts_it_back(up: Path) -> None:
    driver = LabDriver(EstatePaths("lab", up).records)
    host = driver.find("Host", "db-1")
    assert host is not None
    assert isinstance(host.inputs, Host)
    driver.update("Host", "db-1", host.inputs.model_copy(update={"memory_mib": 64}))
    for plan in (engine_in(up).read_drift(), engine_in(up).preview()):
        (change,) = plan.changes
        (entry,) = change.properties
        assert (change.resource, change.action) == ("host-db-1", "update")
        assert (entry.name, entry.declared, entry.actual) == ("memory_mib", host.inputs.memory_mib, 64)
    assert engine_in(up).up().counts == {"update": 1}
    assert driver.find("Host", "db-1") == host


def test_a_removed_record_is_drift_and_up_makes_it_again(up: Path) -> None:
    driver = LabDriver(EstatePaths("lab", up).records)
    driver.delete("Host", "app-1")
    for plan in (engine_in(up).read_drift(), engine_in(up).preview()):
        assert [(c.resource, c.action) for c in plan.changes] == [("host-app-1", "create")]
    assert driver.find("Host", "app-1") is None, "a preview changes nothing"
    assert engine_in(up).up().counts == {"create": 1}
    assert records_in(up) == planned_records()


def test_a_resource_that_exists_is_adopted_when_the_state_is_lost(up: Path) -> None:
    shutil.rmtree(up / "lab" / "pulumi")
    assert engine_in(up).preview().counts == {"adopt": len(PLANNED)}
    assert engine_in(up).up().counts == {"adopt": len(PLANNED)}
    assert engine_in(up).preview().changes == ()


def test_an_existing_resource_that_cannot_change_in_place_is_not_adopted(tmp_path: Path) -> None:
    disk = next(p.inputs for p in PLANNED if isinstance(p.inputs, Disk) and p.inputs.zone)
    LabDriver(EstatePaths("lab", tmp_path).records).create(
        "Disk", disk.model_copy(update={"zone": "elsewhere"})
    )
    with pytest.raises(YiyunError, match=f"Disk {disk.name} exists already with another zone"):
        engine_in(tmp_path).up()


def test_destroy_leaves_protected_kinds_and_the_next_up_takes_them_over(up: Path) -> None:
    plan = engine_in(up).plan_destroy()
    result = engine_in(up).destroy()
    protected = {p.logical_name for p in PLANNED if p.kind in PROTECTED_KINDS}
    assert set(result.retained) == set(plan.protected) == protected | {"bandwidthpackage-shared"}
    assert set(result.removed) == {c.resource for c in plan.changes}
    left = records_in(up)
    assert set(left) == {*PROTECTED_KINDS, "BandwidthPackage"}
    assert all(left[kind] == planned_records()[kind] for kind in left)
    assert engine_in(up).up().counts == {"create": len(PLANNED) - len(result.retained)}
    assert records_in(up) == planned_records()


def test_destroy_removes_protected_resources_only_by_name(up: Path) -> None:
    result = engine_in(up).destroy(["disk-db-1-data"])
    assert "disk-db-1-data" in result.removed
    assert "disk-db-2-data" in result.retained
    assert "db-1-data" not in records_in(up)["Disk"]
    everything = engine_in(up).destroy(
        result.retained[:0] + tuple(n for n in result.retained if "-shared" not in n)
    )
    assert everything.retained == ()
    assert records_in(up) == {}


def test_destroy_refuses_a_name_it_does_not_know(up: Path) -> None:
    with pytest.raises(BadInputError, match="no protected resource is named disk-db-9"):
        engine_in(up).destroy(["disk-db-9"])
    assert records_in(up) == planned_records()


def test_what_the_estate_no_longer_names_is_removed_but_its_data_stays(up: Path, tmp_path: Path) -> None:
    smaller = without_host(LAB, "ora-2")
    plan = engine_in(up, smaller).preview()
    removed = {c.resource for c in plan.changes if c.action == "delete"}
    assert removed == {"host-ora-2", "securitygroup-ora-2"}
    assert plan.protected == ("disk-ora-2-data",)
    assert engine_in(up, smaller).up().protected == plan.protected
    assert "ora-2-data" in records_in(up)["Disk"]
    assert "ora-2" not in records_in(up)["Host"]


def test_a_change_that_would_lose_data_is_refused_and_nothing_is_changed(up: Path, tmp_path: Path) -> None:
    before = records_in(up)
    moved = LAB.model_copy(update={"region": LAB.region.model_copy(update={"zone": "elsewhere"})})
    plan = engine_in(up, moved).preview()
    assert {"disk-db-1-data", "disk-ops-1-data"} <= set(plan.protected)
    with pytest.raises(RefusedError, match=r"disk-db-1-data \(zone\)"):
        engine_in(up, moved).up()
    assert records_in(up) == before
    assert engine_in(up).read_drift().changes == ()


def test_the_state_holds_no_secret_and_is_private(raised: Path) -> None:
    root = raised / "lab"
    passphrase = (root / "pulumi-passphrase").read_text(encoding="ascii")
    assert len(passphrase) >= 32
    for path in (p for p in root.rglob("*") if p.is_file() and p.name != "pulumi-passphrase"):
        content = path.read_bytes()
        assert passphrase.encode() not in content
        assert b"PRIVATE KEY" not in content
    assert (root.stat().st_mode & 0o777, (root / "pulumi-passphrase").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )


HOLDING = """
import sys
from pathlib import Path
from infra.engine.lock import estate_lock
from infra.paths import EstatePaths
with estate_lock(EstatePaths("lab", Path(sys.argv[1])), "up", print):
    print("held", flush=True)
    sys.stdin.read()
"""

KILLED = """
import os, signal, sys
from pathlib import Path
import psutil
from infra.drivers.lab.driver import LabDriver
sys.path.insert(0, sys.argv[3])
from test_engine_stack import LAB, engine_in, with_shared_state

when, victim = sys.argv[2].split("-")
create = LabDriver.create

def kill():
    if victim == "run":
        os.kill(os.getpid(), signal.SIGKILL)
    for child in psutil.Process().children(recursive=True):
        if child.name() == "pulumi":
            child.kill()
            child.wait()

def dying(self, kind, inputs):
    if (kind, inputs.name) != ("Host", "db-2"):
        return create(self, kind, inputs)
    if when == "before":
        kill()
    else:
        made = create(self, kind, inputs)
        kill()
        return made
    raise SystemExit("killed")

LabDriver.create = dying
root = Path(sys.argv[1])
engine_in(root, with_shared_state(root) if len(sys.argv) > 4 else LAB).up()
"""


def test_a_run_is_refused_while_another_changes_the_estate(up: Path) -> None:
    engine = engine_in(up)
    engine.wait_seconds = 0
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(up)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RefusedError, match=rf"`yiyun up` \(process {other.pid}"):
            engine.destroy()
        other.kill()
    assert records_in(up) == planned_records()
    assert engine.up().changed == 0, "a dead holder blocks nobody"


@pytest.mark.parametrize("moment", ["before-run", "after-run", "before-engine", "after-engine"])
def test_after_kill_9_in_the_middle_the_next_up_completes(tmp_path: Path, moment: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert child.returncode == (-signal.SIGKILL if moment.endswith("run") else 1), child.stderr
    wait_for_no_engine_on(tmp_path)
    checkpoint = tmp_path / "lab/pulumi/.pulumi/stacks/yiyun/lab.json"
    assert not checkpoint.with_name("lab.json.attrs").exists(), "a torn one makes the state unreadable"
    pending = json.loads(checkpoint.read_text(encoding="utf-8"))["checkpoint"]["latest"]["pending_operations"]
    assert "host-db-2" in {p["resource"]["urn"].rsplit("::", 1)[-1] for p in pending}
    assert ("db-2" in records_in(tmp_path).get("Host", set())) == moment.startswith("after")

    said: list[str] = []
    engine_in(tmp_path, said=said).up()
    assert "clearing the lock of a run that was killed" in said
    expected = "taken over" if moment.startswith("after") else "had not been created"
    assert any(line.startswith("host-db-2: ") and expected in line for line in said)
    assert records_in(tmp_path) == planned_records()
    resources = json.loads(checkpoint.read_text(encoding="utf-8"))["checkpoint"]["latest"]["resources"]
    urns = [r["urn"] for r in resources]
    assert len(urns) == len(set(urns)) == len(PLANNED) + 2, "each resource once, the stack and the provider"
    assert engine_in(tmp_path).preview().changes == ()


def test_after_kill_9_a_destroy_leaves_no_orphan(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "after-run", str(Path(__file__).parent)],
        capture_output=True,
        check=False,
        timeout=200,
    )
    wait_for_no_engine_on(tmp_path)
    engine_in(tmp_path).destroy()
    assert "Host" not in records_in(tmp_path)


def test_a_shared_backend_works_the_same_after_a_kill(tmp_path: Path) -> None:
    estate = with_shared_state(tmp_path)
    subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "after-run", str(Path(__file__).parent), "shared"],
        capture_output=True,
        check=False,
        timeout=200,
    )
    wait_for_no_engine_on(tmp_path)
    said: list[str] = []
    engine_in(tmp_path, estate, said).up()
    assert "clearing the lock of a run that was killed" in said
    assert (tmp_path / "shared/.pulumi/stacks/yiyun/lab.json").exists()
    assert records_in(tmp_path) == planned_records()
    assert engine_in(tmp_path, estate).preview().changes == ()


def test_the_plugin_serves_an_engine_that_starts_it_and_ends_with_it(up: Path) -> None:
    engine = engine_in(up)
    program = engine._program(PLANNED)
    stack = engine._open()
    kinds: set[str] = set()
    stack.preview(
        program=program,
        on_event=lambda e: (
            kinds.add(e.resource_pre_event.metadata.op.value) if e.resource_pre_event else None
        ),
    )
    assert kinds == {"same"}
    assert not [p for p in psutil.process_iter(["cmdline"]) if started_for(p, "pulumi-resource-yiyun", up)]


def with_shared_state(root: Path) -> Estate:
    """The estate with its state in a backend given by URL."""
    (root / "shared").mkdir(exist_ok=True)
    return LAB.model_copy(update={"state": f"file://{root}/shared"})


def without_host(estate: Estate, name: str) -> Estate:
    """The estate with one host less (its sum of capacity is not checked again)."""
    return estate.model_copy(update={"hosts": tuple(h for h in estate.hosts if h.name != name)})


def started_for(process: psutil.Process, program: str, root: Path) -> bool:
    try:
        return program in " ".join(process.cmdline()) and process.environ().get("YIYUN_STATE") == str(root)
    except psutil.Error:
        return False


def wait_for_no_engine_on(root: Path) -> None:
    """An engine that the kernel was told to kill takes a moment to be gone."""
    left = [p for p in psutil.process_iter() if started_for(p, "pulumi", root)]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive
