"""How the workloads of the premises are begun, waited for and left: paths and no secrets go to them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from infra.drivers.lab.hosts import Container
from infra.errors import BadInputError, YiyunError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.drills.journal import Event
from runbooks.drills.model import Workload
from runbooks.drills.roles import roles_now
from runbooks.drills.workloads import guests, hospital, launch, line, premises, results
from runbooks.drills.workloads.offered import OFFERS, to_remove
from tests.unit.runbooks.workloads.program import Process
from yiyun_gateway.config import Uplink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAB = load_estate("lab")
TLS = "/etc/yiyun/tls"
GATEWAY = f"""site = "edge-1"
[listen]
address = "192.168.50.10"
[uplink]
urls = ["https://app-1.lab.yiyun.internal:8444", "https://app-2.lab.yiyun.internal:8444"]
ca = "{TLS}/ca.crt"
cert = "{TLS}/collector.crt"
key = "{TLS}/collector.key"
"""
HOSTS = "10.20.1.10      app-1.lab.yiyun.internal app-1\n10.20.1.11      app-2.lab.yiyun.internal app-2\n"
SECRET = "-----BEGIN PRIVATE KEY-----"


class Hosts:
    """Hosts that answer by what they are asked. `left`: what the collector has waiting, look by look."""

    def __init__(self, left: Sequence[int] = (), *, down: Sequence[str] = (), gateway: str = GATEWAY) -> None:
        self.left, self.down, self.gateway = list(left), down, gateway
        self.asked: list[tuple[str, list[str], str]] = []

    def __call__(
        self, _paths: EstatePaths, host: str, argv: Sequence[str], *, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        if host in self.down:
            raise YiyunError(f"{host} is not running")
        self.asked.append((host, list(argv), stdin))
        said = {"cat": self.gateway, "getent": HOSTS, "yiyun-db-writer": json.dumps({"writer": "db-2"})}
        text = said.get(argv[0], "")
        if tuple(argv) == premises.STATUS:
            left = self.left.pop(0) if self.left else 0
            senders = {results.SENDER: {"received": left, "parsed": 0, "delivered": 9, "parked": 1}}
            text = json.dumps({"senders": {**senders, "LIS|HIS-1": {"received": 7, "parsed": 5}}})
        elif argv[-1] == results.HELD:
            text = json.dumps({"gtid_set": "g:1-9", "rows": [[f"{guests.NAMESPACE}00001", "1", 1]]})
        return subprocess.CompletedProcess(list(argv), 0, text, "")

    def order(self) -> list[str]:
        """What was done, in short, with the host."""
        words = {results.HELD: "look", guests.LEAVE: "delete", "--json": "collector"}
        short = {"cat": "settings", "getent": "names", "yiyun-db-writer": "writer"}
        return [f"{words.get(a[-1]) or short.get(a[0]) or table(a[-1])} {h}" for h, a, _ in self.asked]


def table(statement: str) -> str:
    return statement.partition("yiyun.")[2].partition(" ")[0]


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths(LAB.estate, tmp_path)


def on(monkeypatch: pytest.MonkeyPatch, hosts: Hosts) -> Hosts:
    for module in (guests, premises):
        monkeypatch.setattr(module, "run_in_host", hosts)
    monkeypatch.setattr("runbooks.drills.evidence.members.run_in_host", hosts)
    monkeypatch.setattr(premises, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(launch.subprocess, "Popen", Process)
    edge = Container("yy-lab-edge-1", "running", 4711, "", "")
    monkeypatch.setattr(launch, "containers", lambda _: {"yy-lab-edge-1": edge})
    return hosts


def test_the_line_is_told_paths_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths, tmp_path: Path
) -> None:
    hosts = on(monkeypatch, Hosts())
    workload = Workload(kind="line", rate=10, clients=2)
    process: Any = premises.start_line(LAB, paths, workload, tmp_path / "history.jsonl", 7).processes[0]
    assert process.argv[:4] == ["ip", "netns", "exec", "yy-lab-edge-1"]
    assert process.argv[-3:] == ["-m", "runbooks.drills.workloads.line", str(tmp_path / "history.jsonl")]
    told = line.Settings.model_validate_json(process.said)
    assert (told.ca, told.certificate, told.key) == tuple(
        f"/proc/4711/root{TLS}/{name}" for name in ("ca.crt", "collector.crt", "collector.key")
    )
    assert SECRET not in process.said
    assert "BEGIN" not in process.said
    assert not any("collector.key" in " ".join(argv) for _, argv, _ in hosts.asked), (
        "nobody reads the key but the program"
    )
    assert [(d.name, d.address, d.port) for d in told.doors] == [
        ("app-1.lab.yiyun.internal", "10.20.1.10", 8444),
        ("app-2.lab.yiyun.internal", "10.20.1.11", 8444),
    ]
    assert (told.residents, told.site, told.seed) == (list(guests.record_numbers(2)), "edge-1", 7)
    assert hosts.order() == [
        "settings edge-1",
        "names edge-1",
        "writer app-1",
        "delete db-2",
        "writer app-1",
        "resident db-2",
        "resident_identifier db-2",
    ]
    again: Any = premises.start_line(LAB, paths, workload, tmp_path / "history.jsonl", 7).processes[0]
    assert line.Settings.model_validate_json(again.said).run != told.run, "keys are of one drill alone"


def test_times_are_those_that_the_collector_is_deployed_with() -> None:
    site, plain = premises.uplink_of(GATEWAY)
    assert site == "edge-1"
    times = ("connect_timeout_s", "answer_timeout_s", "backoff_cap_s")
    own = {name: getattr(plain, name) for name in times}
    assert own == {name: Uplink.model_fields[name].default for name in times}, "the collector's defaults"
    _, set_ = premises.uplink_of(f"{GATEWAY}answer_timeout_s = 3.5\nin_flight = 4\n")
    assert (set_.answer_timeout_s, set_.connect_timeout_s) == (3.5, 1.0)


@pytest.mark.parametrize("text", ["", "site = 1", 'site = "e"\n[uplink]\nurls = []\n', "= ="])
def test_a_collector_without_an_uplink_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="names no uplink"):
        premises.uplink_of(text)


def test_a_door_that_the_host_does_not_know_is_refused() -> None:
    with pytest.raises(BadInputError, match="no address for app-9"):
        premises.doors_of(["https://app-9:8444"], {"app-1": "10.20.1.10"})


def test_the_hospital_sends_from_its_own_host_to_the_declared_port(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths, tmp_path: Path
) -> None:
    hosts = on(monkeypatch, Hosts([3, 0]))
    workload = Workload(kind="hospital", rate=10, clients=2)
    process: Any = premises.start_hospital(LAB, paths, workload, tmp_path / "h", 7).processes[0]
    assert process.argv[:4] == ["ip", "netns", "exec", "yy-lab-his-1"]
    told = hospital.Settings.model_validate_json(process.said)
    assert (told.address, told.port) == ("192.168.50.10", 2575)
    assert told.residents == list(guests.record_numbers(2))
    assert hosts.order()[:4] == ["collector edge-1", "collector edge-1", "writer app-1", "delete db-2"]
    bare = LAB.model_copy(update={"hosts": tuple(h for h in LAB.hosts if h.name != "his-1")})
    with pytest.raises(BadInputError, match="no hospital's host"):
        premises.start_hospital(bare, paths, workload, tmp_path / "h", 7)


def test_members_are_read_when_the_collector_has_nothing_of_the_drill_left(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths
) -> None:
    hosts = on(monkeypatch, Hosts([5, 2, 0]))
    held = premises.held_once_delivered(LAB, paths)
    assert hosts.order() == ["collector edge-1"] * 3 + ["look db-1", "look db-2", "look db-3"]
    assert [h.lists for h in held] == [{"list-0": [1]}] * 3


def test_a_collector_that_keeps_messages_or_says_nothing_is_told_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths
) -> None:
    on(monkeypatch, Hosts([4] * 100_000))
    with pytest.raises(YiyunError, match="the collector of edge-1 has 4 messages of the drill waiting"):
        premises.wait_delivered(LAB, paths, 0.05)
    on(monkeypatch, Hosts(down=["edge-1"]))
    with pytest.raises(YiyunError, match="does not say what it has: edge-1 is not running"):
        premises.wait_delivered(LAB, paths, 0.05)


def test_residents_stay_as_long_as_a_message_for_them_may_come(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths
) -> None:
    """It would find nobody, and open a record."""
    monkeypatch.setattr(premises, "DELIVERED_SECONDS", 0.05)
    hosts = on(monkeypatch, Hosts([4] * 100_000))
    with pytest.raises(YiyunError, match="4 messages"):
        premises.leave_once_delivered(LAB, paths)
    assert set(hosts.order()) == {"collector edge-1"}
    hosts = on(monkeypatch, Hosts([1]))
    premises.leave_once_delivered(LAB, paths)
    assert hosts.order()[-1] == "delete db-2"


def test_other_senders_and_parked_messages_are_not_waited_for() -> None:
    counts = {"received": 0, "parsed": 0, "delivered": 4, "parked": 2}
    senders = {results.SENDER: counts, "LIS|HIS-1": {"received": 3, "parsed": 1}}
    assert premises.waiting({"senders": senders}) == 0
    assert premises.waiting({"senders": {}}) == 0
    assert premises.waiting({"senders": {results.SENDER: {**counts, "received": 1, "parsed": 2}}}) == 3


@pytest.mark.parametrize(("kind", "host"), [("line", "edge-1"), ("hospital", "his-1"), ("database", "app-1")])
def test_a_workload_stands_where_its_journal_says_and_leaves_what_it_made(kind: str, host: str) -> None:
    roles = roles_now(LAB, {"mysql": {"writer": "db-1"}, "line": {"path": "ops-1"}})
    assert roles[OFFERS[kind].stands_at] == host
    begun = [Event("load", "2026-11-28T00:00:00+00:00", 0.0, {"kind": kind})]
    assert to_remove(begun) == ("" if kind == "database" else kind)


def test_from_the_premises_no_answer_is_left_out_and_the_balancer_is_not_on_the_way() -> None:
    kinds = {k: Workload.model_validate({"kind": k, "rate": 1, "clients": 1}) for k in OFFERS}
    assert {k for k, w in kinds.items() if w.outside} == {"platform", "line", "hospital"}
    assert {k for k, w in kinds.items() if w.public} == {"platform"}
