"""How the platform's workload is begun and left: no password in a command line, rows at the writer alone."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from infra.errors import BadInputError, YiyunError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.drills.model import Workload
from runbooks.drills.workloads import guests, launch
from runbooks.drills.workloads.platform import Settings
from tests.unit.runbooks.workloads.program import Process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAB = load_estate("lab")
WORKLOAD = Workload(kind="platform", rate=20, clients=2)


class Hosts:
    """Hosts that answer by what they are asked; app-1 is down when told."""

    def __init__(self, rows: list[list[str]] | None = None, *, down: Sequence[str] = ()) -> None:
        self.rows, self.down = rows, down
        self.asked: list[tuple[str, list[str], str]] = []

    def __call__(
        self, _paths: EstatePaths, host: str, argv: Sequence[str], *, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        if host in self.down:
            raise YiyunError(f"{host} is not running")
        self.asked.append((host, list(argv), stdin))
        said = ""
        if argv[0] == "yiyun-db-writer":
            said = json.dumps({"writer": "db-2"})
        elif argv[0] == "python3":
            said = json.dumps(["k2"])
        elif argv[-1] == guests.HELD:
            said = json.dumps({"gtid_set": "g:1-9", "rows": self.rows})
        return subprocess.CompletedProcess(list(argv), 0, said, "")

    def order(self) -> list[str]:
        """What was done, in short."""
        words = {guests.HELD: "look", guests.LEAVE: "delete rows"}
        short = {"python3": "files", "yiyun-db-writer": "writer", "sh": "account"}
        return [words.get(a[-1]) or short.get(a[0], "insert") for _, a, _ in self.asked]


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths(LAB.estate, tmp_path)


def on(monkeypatch: pytest.MonkeyPatch, hosts: Hosts) -> Hosts:
    monkeypatch.setattr(guests, "run_in_host", hosts)
    monkeypatch.setattr("runbooks.drills.evidence.members.run_in_host", hosts)
    return hosts


ROWS = [
    [f"{guests.NAMESPACE}00001", "1.pdf", "k1", "d1"],
    [f"{guests.NAMESPACE}00001", "2.pdf", "k2", "d2"],
]


def test_rows_go_at_the_writer_alone(monkeypatch: pytest.MonkeyPatch, paths: EstatePaths) -> None:
    hosts = on(monkeypatch, Hosts(ROWS))
    guests.leave(LAB, paths)
    assert hosts.order() == ["writer", "delete rows"]
    assert hosts.asked[1][0] == "db-2"


def test_the_account_is_made_where_an_app_host_lives_and_its_password_is_in_no_command_line(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths
) -> None:
    hosts = on(monkeypatch, Hosts(down=["app-1"]))
    admitted = guests.admit(LAB, paths, 2)
    assert hosts.order() == ["writer", "delete rows", "account", "writer", "insert"]
    host, _, told = hosts.asked[2]
    assert (host, told) == ("app-2", f"{admitted.password}\n")
    assert len(admitted.password) >= 32
    assert all(admitted.password not in " ".join(a) for _, a, _ in hosts.asked)
    assert guests.admit(LAB, paths, 1).password != admitted.password
    on(monkeypatch, Hosts(down=["app-1", "app-2"]))
    with pytest.raises(YiyunError, match="app-2 is not running"):
        guests.admit(LAB, paths, 2)


def test_every_member_is_read_and_a_file_the_store_lost_is_held_by_none(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths
) -> None:
    hosts = on(monkeypatch, Hosts(ROWS))
    held = guests.held(LAB, paths)
    (looked,) = [told for _, argv, told in hosts.asked if argv[0] == "python3"]
    assert json.loads(looked) == [["k1", "d1"], ["k2", "d2"]]
    assert [h.member for h in held] == ["db-1", "db-2", "db-3"]
    assert all(h.lists == {"list-0": [1]} for h in held)


class Material:
    """The estate's authority, without its secrets."""

    def __init__(self, *_: object) -> None: ...

    def root(self) -> Any:
        return type("Root", (), {"certificate": "CERTIFICATE"})


def test_the_workload_stands_in_the_internet_and_is_told_everything_by_standard_input(
    monkeypatch: pytest.MonkeyPatch, paths: EstatePaths, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch, "Material", Material)
    monkeypatch.setattr(launch.subprocess, "Popen", Process)
    monkeypatch.setattr(guests, "admit", lambda *_: guests.Admitted("the password", guests.record_numbers(2)))
    running = launch.start_platform(LAB, paths, WORKLOAD, tmp_path / "history.jsonl", 7)
    process: Any = running.processes[0]
    assert process.argv[:4] == ["ip", "netns", "exec", "yy-lab-inet"]
    assert process.argv[-3:] == ["-m", "runbooks.drills.workloads.platform", str(tmp_path / "history.jsonl")]
    assert "the password" not in " ".join(process.argv)
    told = Settings.model_validate_json(process.said)
    assert (told.password, told.username, told.seed) == ("the password", guests.ACCOUNT, 7)
    assert (told.name, told.port) == ("platform.lab.yiyun.internal", LAB.load_balancers[0].port)
    assert told.address.startswith("203.0.113."), "the balancer's public address"
    assert told.residents == list(guests.record_numbers(2))
    again: Any = launch.start_platform(LAB, paths, WORKLOAD, tmp_path / "history.jsonl", 7).processes[0]
    assert Settings.model_validate_json(again.said).run != told.run, "keys are of one drill alone"


def test_an_estate_without_a_balancer_has_no_public_door(paths: EstatePaths, tmp_path: Path) -> None:
    bare = LAB.model_copy(update={"load_balancers": ()})
    with pytest.raises(BadInputError, match="no load balancer"):
        launch.start_platform(bare, paths, WORKLOAD, tmp_path / "history.jsonl", 7)
