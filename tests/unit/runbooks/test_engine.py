"""A drill is undone: when it ends, when it is given up, and when its controller dies at any moment."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from infra.errors import RefusedError, YiyunError
from runbooks.drills.engine import Observation, Order, finish_undo, run, unfinished
from runbooks.drills.journal import Event, Journal, named, read_journal
from runbooks.drills.model import Drill, Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DRILL = Drill.model_validate(
    {
        "name": "two-things-at-once",
        "title": {"zh": "两处同时故障", "en": "Two things at once"},
        "procedure": "mysql-member-out",
        "hypothesis": ["healthy"],
        "workload": {"kind": "database", "rate": 100, "clients": 4},
        "method": [
            {
                "faults": [
                    {"kind": "process-killed", "host": "db-1", "unit": "mysql"},
                    {"kind": "host-frozen", "host": "app-1"},
                ],
                "hold_s": 1,
            },
            {"faults": [{"kind": "link-cut", "source": "app-2", "destination": "db-2", "ports": [3306]}]},
        ],
        "objectives": {"rto_s": 1.5},
        "settle_s": 0.05,
    }
)


class FakeGround:
    """An estate in a file: what is broken there outlives the process that broke it."""

    def __init__(self, broken: Path, step: Callable[[], None] = lambda: None) -> None:
        self.broken, self.step = broken, step
        self.without_effect: set[str] = set()
        self.stuck: set[str] = set()
        self.give_up = ""
        self.calls: list[str] = []

    def now(self) -> list[str]:
        return json.loads(self.broken.read_text()) if self.broken.exists() else []

    def observe(self, probe: str) -> Observation:
        self.step()
        return Observation(probe, not self.now(), f"broken: {self.now()}")

    def order_for(self, fault: Fault) -> Order:
        self.step()
        return {"mend": fault.model_dump_json()}

    def ready(self, fault: Fault) -> Callable[[], None]:
        self.step()
        return lambda: self.inject(fault)

    def inject(self, fault: Fault) -> None:
        self.step()
        self.calls.append(f"inject {fault.kind}")
        if fault.kind not in self.without_effect:
            self.broken.write_text(json.dumps([*self.now(), fault.model_dump_json()]))
        self.step()

    def bites(self, fault: Fault) -> bool:
        self.step()
        return fault.model_dump_json() in self.now()

    def undo(self, order: Order) -> None:
        self.step()
        kind = json.loads(order["mend"])["kind"]
        self.calls.append(f"undo {kind}")
        if kind in self.stuck:
            raise YiyunError("the host does not answer")
        self.broken.write_text(json.dumps([f for f in self.now() if f != order["mend"]]))
        self.step()

    def is_undone(self, order: Order) -> bool:
        self.step()
        return order["mend"] not in self.now()

    def hold(self, seconds: float) -> str:
        self.step()
        return self.give_up


class MortalJournal(Journal):
    """A journal whose writer may die before and after each line."""

    def __init__(self, path: Path, step: Callable[[], None]) -> None:
        super().__init__(path)
        self.step = step

    def note(self, event: str, **fields: Any) -> Event:
        self.step()
        made = super().note(event, **fields)
        self.step()
        return made


@pytest.fixture
def ground(tmp_path: Path) -> FakeGround:
    return FakeGround(tmp_path / "broken.json")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def test_a_drill_goes_its_way_and_is_undone_in_reverse(ground: FakeGround, journal: Journal) -> None:
    run(DRILL, ground, journal, lambda: ground.calls.append("load"))
    assert ground.calls == [
        "load",
        "inject process-killed",
        "inject host-frozen",
        "inject link-cut",
        "undo link-cut",
        "undo host-frozen",
        "undo process-killed",
    ]
    events = read_journal(journal.path)
    assert [e.name for e in events if e.name in {"observed", "ended"}] == ["observed", "observed", "ended"]
    assert unfinished(events) == []


def test_what_undoes_a_fault_is_on_the_disk_before_the_fault(ground: FakeGround, journal: Journal) -> None:
    run(DRILL, ground, journal, lambda: None)
    lines = [f"{e.name} {e.fields}" for e in read_journal(journal.path)]
    for kind in ("process-killed", "host-frozen", "link-cut"):
        noted, done = (
            next(i for i, line in enumerate(lines) if line.startswith(name) and kind in line)
            for name in ("will-undo", "fault")
        )
        assert noted < done


def test_an_unhealthy_estate_is_refused_before_anything_is_done(ground: FakeGround, journal: Journal) -> None:
    ground.broken.write_text('["something"]')
    with pytest.raises(RefusedError, match="hypothesis"):
        run(DRILL, ground, journal, lambda: ground.calls.append("load"))
    assert ground.calls == []


def test_a_fault_without_effect_ends_the_drill_and_is_noted(ground: FakeGround, journal: Journal) -> None:
    ground.without_effect = {"host-frozen"}
    run(DRILL, ground, journal, lambda: None)
    (aborted,) = named(read_journal(journal.path), "aborted")
    assert aborted["reason"] == "host-frozen had no effect"
    assert "inject link-cut" not in ground.calls
    assert ground.now() == []


def test_a_drill_that_is_given_up_is_undone(ground: FakeGround, journal: Journal) -> None:
    ground.give_up = "db-3 left, which was not planned"
    run(DRILL, ground, journal, lambda: None)
    assert named(read_journal(journal.path), "aborted")[0]["reason"] == ground.give_up
    assert ground.now() == []


def test_one_undo_that_fails_does_not_keep_the_others_from_being_done(
    ground: FakeGround, journal: Journal
) -> None:
    ground.stuck = {"host-frozen"}
    with pytest.raises(YiyunError, match="the host does not answer"):
        run(DRILL, ground, journal, lambda: None)
    assert ["host-frozen" in f for f in ground.now()] == [True]
    ground.stuck = set()
    left = unfinished(read_journal(journal.path))
    assert ["host-frozen" in order["mend"] for order in left] == [True]
    finish_undo(left, ground, journal)
    assert unfinished(read_journal(journal.path)) == []


def test_a_controller_killed_at_any_moment_is_undone_by_the_next(tmp_path: Path) -> None:
    died = 0
    for moment in range(1, 200):
        folder = tmp_path / str(moment)
        folder.mkdir()
        if not killed_at(moment, folder):
            break
        died += 1
        ground, journal = FakeGround(folder / "broken.json"), Journal(folder / "journal.jsonl")
        journal.note("resumed")
        finish_undo(unfinished(read_journal(journal.path)), ground, journal)
        assert ground.now() == [], f"killed at call {moment}"
        assert unfinished(read_journal(journal.path)) == []
    assert died > 50, "the drill was killed at every call there is"


def killed_at(moment: int, folder: Path) -> bool:
    """Run the drill in a process that ends without a word at its n-th call; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = moment

        def step() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)

        journal = MortalJournal(folder / "journal.jsonl", step)
        run(DRILL, FakeGround(folder / "broken.json", step), journal, lambda: None)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
