"""What `up` decides from records, inputs and states: which parts run, what is mended, what is recorded."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from infra.drift import survey as module
from infra.drift.records import read_record
from infra.drift.survey import Survey, keep_by_hand, recorded, started, survey
from infra.errors import YiyunError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from pathlib import Path

    from infra.drift.compare import State

LAB = load_estate("lab")
HOSTS = [h.name for h in LAB.hosts]
INPUTS = {h: {"base": "1", "time": "1"} for h in HOSTS}
NAMES = {"base": frozenset({"/etc/hosts"}), "time": frozenset({"chrony"})}
ALL = frozenset({"base", "time"})


def state(**files: str) -> State:
    return {
        "File": {"/etc/machine-id": {"sha256": "m"}}
        | {p: {"kind": "file", "sha256": s} for p, s in files.items()}
    }


class World:
    """Hosts as the collector would tell of them, and what they were ordered."""

    def __init__(self) -> None:
        self.now: dict[str, State | None] = {h: state() for h in HOSTS}
        self.ordered: list[tuple[str, str]] = []

    def collect(self, paths: EstatePaths, hosts: Any) -> dict[str, State | None]:
        return {h.name: copy.deepcopy(self.now[h.name]) for h in hosts}

    def mend(self, paths: EstatePaths, orders: Any) -> dict[str, list[dict[str, Any]]]:
        for host, listed in orders.items():
            for order in listed:
                self.ordered.append((host, order["do"]))
                (self.now[host] or {})["File"].pop(order.get("path"), None)
        return {h: [{"order": o, "ok": True, "said": "x"} for o in listed] for h, listed in orders.items()}


@pytest.fixture
def world(monkeypatch) -> World:
    made = World()
    monkeypatch.setattr(module, "collect", made.collect)
    monkeypatch.setattr(module, "mend", made.mend)
    return made


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths("lab", tmp_path).ensure()


def look(paths: EstatePaths, inputs=INPUTS, **options: Any) -> Survey:
    return survey(LAB, paths, inputs, lambda _: None, **options)


def converged(paths: EstatePaths) -> None:
    found = look(paths)
    ran = dict.fromkeys(HOSTS, ALL)
    recorded(found, LAB, paths, ran, dict.fromkeys(HOSTS, NAMES))


def test_without_a_record_everything_runs_and_nobody_is_asked(world: World, paths: EstatePaths) -> None:
    world.now = dict.fromkeys(HOSTS, None)
    assert all(look(paths).parts_to_run(h) == ALL for h in HOSTS)


def test_after_a_converge_nothing_runs(world: World, paths: EstatePaths) -> None:
    converged(paths)
    found = look(paths)
    assert all(found.parts_to_run(h) == frozenset() for h in HOSTS)
    assert (found.mended, found.left) == ([], ())


def test_a_changed_input_runs_its_part_on_its_host(world: World, paths: EstatePaths) -> None:
    converged(paths)
    found = look(paths, {**INPUTS, "db-1": {"base": "1", "time": "2"}})
    assert {h: p for h in HOSTS if (p := found.parts_to_run(h))} == {"db-1": {"time"}}


def test_a_host_made_anew_runs_everything_and_is_ordered_nothing(world: World, paths: EstatePaths) -> None:
    world.now["db-1"] = state(**{"/etc/hosts": "1"})
    converged(paths)
    world.now["db-1"] = {"File": {"/etc/machine-id": {"sha256": "another"}}}
    assert look(paths).parts_to_run("db-1") == ALL
    assert world.ordered == []


def test_a_file_by_hand_is_set_aside_and_named_files_run_their_role(world: World, paths: EstatePaths) -> None:
    world.now["db-1"] = state(**{"/etc/hosts": "1"})
    converged(paths)
    world.now["db-1"] = state(**{"/etc/hosts": "2", "/etc/by-hand": "1"})
    found = look(paths)
    assert found.parts_to_run("db-1") == {"base"}
    assert world.ordered == [("db-1", "set-aside")]
    assert [(m["host"], m["what"]) for m in found.mended] == [("db-1", "set aside /etc/by-hand")]


def test_an_interrupted_part_runs_again_and_what_it_made_is_recorded(
    world: World, paths: EstatePaths
) -> None:
    converged(paths)
    started(look(paths), paths, {"db-1": frozenset({"time"})})
    world.now["db-1"] = state(**{"/etc/half-made": "1"})
    found = look(paths)
    assert found.parts_to_run("db-1") == {"time"}
    assert world.ordered == []
    recorded(found, LAB, paths, {"db-1": frozenset({"time"})}, {})
    assert "/etc/half-made" in read_record(paths, "db-1").state["File"]
    assert read_record(paths, "db-1").running == []
    assert look(paths).left == ()


def test_the_end_of_one_part_does_not_end_another(world: World, paths: EstatePaths) -> None:
    converged(paths)
    started(look(paths), paths, {"db-1": ALL})
    found = look(paths)
    recorded(found, LAB, paths, {"db-1": frozenset({"base"})}, {})
    assert look(paths).parts_to_run("db-1") == {"time"}


def test_what_nobody_can_put_right_stays_named(world: World, paths: EstatePaths) -> None:
    world.now["db-1"] = state(**{"/etc/login.defs": "1"})
    converged(paths)
    changed = {"kind": "file", "sha256": "2"}
    world.now["db-1"] = {"File": {**state()["File"], "/etc/login.defs": changed}}
    found = look(paths)
    assert [d.resource for d in found.left] == ["db-1:File:/etc/login.defs"]
    found = look(paths, keep=frozenset({"db-1:File:/etc/login.defs"}))
    assert keep_by_hand(found, paths) == 1
    assert look(paths).left == ()


def test_a_silent_host_is_an_error_that_names_it(world: World, paths: EstatePaths) -> None:
    converged(paths)
    world.now["db-2"] = None
    with pytest.raises(YiyunError, match="db-2"):
        look(paths)
