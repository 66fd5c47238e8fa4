"""`drill run region-loss`: every host and store of the first region gone under load; another takes over.

In the lab the first region is dead machines whose disks are kept: when all was read the successor is taken
down and the first region started again, as it was in its last moment. What the successor was given meanwhile
goes with it: the drill's own. The way back that loses nothing is not part of this drill.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.drivers.lab.calamity import left_of_region, lose_region
from infra.drivers.lab.hosts import run_in_host
from infra.errors import RefusedError, YiyunError
from infra.rotation.recovery import kit_of
from infra.steps.lab import start_steps
from infra.steps.model import Context, Selection, run_steps
from infra.trust.store import key_file
from runbooks.drills.about import about
from runbooks.drills.conduct import WARM_UP_SECONDS, new_folder, refuse_unfinished
from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.history import read_history
from runbooks.drills.evidence.lost import TOLERATED, dead_at
from runbooks.drills.evidence.members import held_by
from runbooks.drills.faults.tool import Place
from runbooks.drills.ground import LabGround
from runbooks.drills.journal import Journal, read_journal
from runbooks.drills.workloads.database import ACCOUNTS, BALANCE
from runbooks.drills.workloads.launch import start_part
from runbooks.drills.workloads.premises import held as held_results
from runbooks.drills.workloads.premises import (
    leave_once_delivered,
    start_hospital,
    wait_delivered,
)
from runbooks.recovery.drill import clear_standing, refuse_standing
from runbooks.recovery.pages import first_page, settings_for
from runbooks.recovery.scratch import SERVED_SECONDS
from runbooks.recovery.source import drawn_residents
from runbooks.recovery.takeover import Taken, take_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.rotation.recovery import Kit
    from runbooks.drills.about import People
    from runbooks.drills.evidence.verdict import Verdict
    from runbooks.drills.folder import Folder
    from runbooks.drills.rehearsal import Loss
    from runbooks.drills.workloads.launch import Running
    from runbooks.recovery.takeover import Prepared

    Tell = Callable[[str], None]

LINE_STATE = "/run/yiyun-line.json"
LINE_SECONDS, DELIVERED_SECONDS = 120.0, 300.0
"""What came from the hospital during the whole outage waits at the front-end machine: minutes of it."""
SETTLE_SECONDS = 120.0
RESULTS_RATE = 4.0
"""Results a second from the hospital, beside the writes."""


@dataclass
class _Drill:
    """What one such drill goes on with."""

    drill: Loss
    estate: Estate
    paths: EstatePaths
    source: str
    folder: Folder
    journal: Journal
    seed: int
    progress: Tell
    taken: Taken = field(default_factory=Taken)
    running: list[Running] = field(default_factory=list["Running"])

    @property
    def there(self) -> Prepared:
        """The successor."""
        if self.taken.prepared is None:
            raise YiyunError("nothing has taken over yet")
        return self.taken.prepared


def lose(
    drill: Loss,
    estate: Estate,
    paths: EstatePaths,
    source: str,
    seed: int,
    people: People,
    progress: Tell,
    kit: Kit | None = None,
) -> tuple[Folder, Verdict]:
    """Lose the region, take over, see what it cost, bring the first one back. `source`: the estate's file.

    Raises RefusedError when the estate is not whole, or an earlier drill is not undone: nothing was done.
    """
    refuse_unfinished(paths)
    refuse_standing(estate)
    _must_be_whole(drill, estate, paths)
    folder = new_folder(paths, drill.name)
    folder.drill.write_text(drill.model_dump_json(indent=1) + "\n", encoding="utf-8")
    folder.keep_about(about(folder.path.name, estate, paths, people, []))
    journal = Journal(folder.journal)
    journal.note("began", drill=drill.name, seed=seed, estate=estate.estate, scope=estate.provider)
    it = _Drill(drill, estate, paths, source, folder, journal, seed, progress)
    try:
        opened = kit or kit_of(estate, paths, key_file(paths).read_text(encoding="ascii").strip())
        _go(it, opened, given=kit is not None)
    except YiyunError as error:
        journal.note("aborted", name="aborted", reason=error.message)
        progress(error.message)
    finally:
        for workload in it.running:
            workload.end()
        left = _bring_back(it)
        journal.note("taken-down", left=left)
        journal.note("ended")
        journal.close()
    return folder, folder.verdict()


def _must_be_whole(drill: Loss, estate: Estate, paths: EstatePaths) -> None:
    if not estate.hosts_with("edge"):
        raise RefusedError(f"{estate.estate} has no front-end machine", hint="remote-backup needs none")
    ground = LabGround(Place(estate, paths, "whole"))
    wrong = [seen.text for probe in drill.hypothesis if not (seen := ground.observe(probe)).holds]
    if wrong:
        raise RefusedError(f"the estate is not whole: {wrong[0]}", hint="yiyun status")


def _go(it: _Drill, kit: Kit, *, given: bool) -> None:
    """Under load: the loss, the takeover, the premises, the county at work, and what all of it cost."""
    workload, half = it.drill.workload, it.drill.workload.clients // 2
    residents = drawn_residents(it.paths, it.estate.hosts_with("db")[0].name, 2, it.seed)
    it.journal.note("load", kind="database", host="", total=ACCOUNTS * BALANCE)
    results = it.folder.path / "results.jsonl"
    it.progress("the workloads begin")
    slower = workload.model_copy(update={"kind": "hospital", "rate": RESULTS_RATE})
    it.running.append(start_hospital(it.estate, it.paths, slower, results, it.seed))
    before = range(half)
    it.running.append(start_part(it.estate, it.paths, workload, it.folder.history, it.seed, before))
    time.sleep(WARM_UP_SECONDS)
    it.journal.note("kit", given=given, made=kit.made)
    it.journal.note("gone")
    killed = lose_region(it.paths)
    it.journal.note("lost-things", things=killed, left=left_of_region(it.paths))
    it.progress(f"{len(killed)} machines are gone; somebody decides to take over")

    def phase(name: str) -> None:
        it.journal.note("phase", name=name)

    take_over(kit, (), it.taken, phase, it.progress)
    there = it.there
    phase("serving")
    first_page(settings_for(there.successor, there.paths, residents), SERVED_SECONDS)
    it.journal.note("serving", name="serving")
    it.running.pop().end()
    later = range(half, workload.clients)
    it.journal.note("later", first_client=half, addresses=it.taken.addresses)
    it.running.append(start_part(there.successor, there.paths, workload, it.folder.history, it.seed, later))
    _wait_line(it)
    time.sleep(it.drill.hold_s)
    while it.running:
        it.running.pop().end()
    it.journal.note("collected", operations=it.folder.operations())
    it.progress("what the premises held comes in")
    wait_delivered(it.estate, it.paths, DELIVERED_SECONDS)
    it.progress("what the successor holds, and what came from the premises")
    it.folder.keep_held(held_by(there.paths, [h.name for h in there.successor.hosts_with("db")]))
    _hold_results(it, results)


def _wait_line(it: _Drill) -> None:
    """Until the premises' agent says that a path is up in the other region. Raises YiyunError."""
    edge = it.estate.hosts_with("edge")[0].name
    deadline = time.monotonic() + LINE_SECONDS
    while True:
        said = run_in_host(it.paths, edge, ["cat", LINE_STATE]).stdout
        state = json.loads(said) if said.strip() else {}
        if state.get("up") and state.get("region") == 1:
            it.journal.note("line-found", path=state["path"])
            return
        if time.monotonic() > deadline:
            raise YiyunError(f"{edge} does not find the successor: {said.strip()[:200]}", hint="yiyun status")
        time.sleep(0.5)


def _hold_results(it: _Drill, results: Path) -> None:
    """What the front-end machine acknowledged to the hospital: there once, but for the last seconds."""
    history = read_history(results)
    found = check(history, held_results(it.there.successor, it.there.paths), 0)
    dead = dead_at(read_journal(it.journal.path)) or 0.0
    lost = [v.at for v in found.violations if v.fault == "lost" and v.at is not None]
    seconds = max(0.0, dead - min(lost)) if lost else 0.0
    wrong = [f"{v.fault}: {v.text}" for v in found.violations if v.fault not in TOLERATED]
    if seconds > it.drill.objectives.rpo_s:
        wrong.append(f"{len(lost)} of the last {seconds:.1f} s are lost")
    later = sum(op.acknowledged and op.ended > dead for op in history)
    text = f"{later} of them acknowledged after the loss; {len(lost)} lost, of its last {seconds:.2f} s"
    it.journal.note("compared", what="results", of=found.acknowledged, problems=wrong[:20], text=text)


def _bring_back(it: _Drill) -> list[str]:
    """Take the successor down, start the first region, look whether it is whole. Returns what is not."""
    try:
        clear_standing(it.estate, it.progress)
        it.progress("the first region is started again")
        run_steps(
            start_steps(), Context(it.estate, it.source, it.paths, it.progress), Selection(), lambda _: None
        )
        leave_once_delivered(it.estate, it.paths)
        deadline = time.monotonic() + SETTLE_SECONDS
        ground = LabGround(Place(it.estate, it.paths, "whole"))
        while True:
            seen = [ground.observe(probe) for probe in it.drill.hypothesis]
            wrong = [f"{o.probe}: {o.text}" for o in seen if not o.holds]
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(1.0)
    except YiyunError as error:
        return [error.message]
