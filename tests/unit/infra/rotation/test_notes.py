"""What a rotation changed on a host is recorded as declared; what was changed otherwise is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.drift.compare import KINDS
from infra.drift.records import HostRecord, read_record, write_record
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.rotation.notes import HostNotes

if TYPE_CHECKING:
    from pathlib import Path

LAB = load_estate("lab")
SECRET, OTHER = "/etc/app/secret", "/etc/hosts"


class Hosts:
    """Two hosts as seen by SSH, and the inputs of their parts."""

    def __init__(self) -> None:
        self.inputs = {h: {"platform": "1", "base": "1"} for h in ("app-1", "app-2")}
        self.files = {h: {SECRET: "1", OTHER: "1"} for h in self.inputs}

    def state(self, host: str) -> dict[str, Any]:
        files = {path: {"sha256": digest} for path, digest in self.files[host].items()}
        return {kind: {} for kind in KINDS} | {"File": files}


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    seen = Hosts()
    look = lambda _estate, _paths, names: {h: seen.state(h) for h in names}  # noqa: E731
    monkeypatch.setattr("infra.rotation.notes.states_of", look)
    monkeypatch.setattr("infra.drift.survey.states_of", look)
    monkeypatch.setattr(
        "infra.rotation.notes.inputs_now", lambda *_: {h: dict(p) for h, p in seen.inputs.items()}
    )
    return seen


@pytest.fixture
def notes(hosts: Hosts, tmp_path: Path) -> HostNotes:
    paths = EstatePaths("lab", tmp_path).ensure()
    for host in hosts.inputs:
        write_record(paths, host, HostRecord(inputs=dict(hosts.inputs[host]), state=hosts.state(host)))
    return HostNotes(LAB, paths, lambda _: None)


def rotate(notes: HostNotes, hosts: Hosts) -> None:
    """A new secret of the platform on app-1, as far as the hosts."""
    notes.begin({"app-1"})
    hosts.inputs["app-1"]["platform"] = "2"
    notes.changing()
    hosts.files["app-1"][SECRET] = "2"


def test_what_a_rotation_changed_is_as_declared_afterwards(notes: HostNotes, hosts: Hosts) -> None:
    rotate(notes, hosts)
    notes.keep()
    record = read_record(notes.paths, "app-1")
    assert (record.inputs, record.running) == ({"platform": "2", "base": "1"}, [])
    assert record.state["File"][SECRET] == {"sha256": "2"}
    assert read_record(notes.paths, "app-2").recorded == "", "a host that was not touched is not asked"


def test_what_was_changed_by_hand_before_stays_drift(notes: HostNotes, hosts: Hosts) -> None:
    hosts.files["app-1"][OTHER] = "by hand"
    hosts.inputs["app-1"]["base"] = "changed in the estate"
    rotate(notes, hosts)
    notes.keep()
    record = read_record(notes.paths, "app-1")
    assert record.state["File"][OTHER] == {"sha256": "1"}
    assert record.inputs["base"] == "1", "its role still has to run"


def test_an_interrupted_rotation_leaves_its_parts_marked_and_no_other(notes: HostNotes, hosts: Hosts) -> None:
    rotate(notes, hosts)
    assert read_record(notes.paths, "app-1").running == ["platform"]
    assert read_record(notes.paths, "app-2").running == []


def test_a_host_that_shares_the_secret_without_being_named_is_recorded_too(
    notes: HostNotes, hosts: Hosts
) -> None:
    notes.begin({"app-1"})
    for host in hosts.inputs:
        hosts.inputs[host]["platform"] = "2"
    notes.changing()
    notes.keep()
    assert read_record(notes.paths, "app-2").inputs["platform"] == "2"


def test_hosts_that_were_never_recorded_are_not_asked(tmp_path: Path) -> None:
    notes = HostNotes(LAB, EstatePaths("lab", tmp_path).ensure(), lambda _: None)
    notes.begin({"app-1"})
    notes.changing()
    notes.keep()
    assert not notes.paths.desired.exists() or not list(notes.paths.desired.iterdir())
