"""One drill in a lab from beginning to end: its evidence goes into a folder, its verdict comes from there."""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.errors import RefusedError, YiyunError
from infra.status import collect
from monitoring.look import monitoring_status
from runbooks.drills.about import about
from runbooks.drills.engine import finish_undo, run, unfinished
from runbooks.drills.evidence.gather import gather
from runbooks.drills.evidence.members import conflicts
from runbooks.drills.evidence.timing import rounded
from runbooks.drills.faults.tool import Place
from runbooks.drills.folder import Folder, folders
from runbooks.drills.ground import LabGround
from runbooks.drills.journal import Journal
from runbooks.drills.roles import resolved, roles_now
from runbooks.drills.workloads.offered import OFFERS, to_remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.about import People
    from runbooks.drills.evidence.verdict import Verdict
    from runbooks.drills.model import Drill
    from runbooks.drills.workloads.launch import Running

WARM_UP_SECONDS = 2.0
"""Of load before the fault, so that the last writes before it are known."""


def conduct(
    drill: Drill,
    estate: Estate,
    paths: EstatePaths,
    seed: int,
    people: People,
    progress: Callable[[str], None],
) -> tuple[Folder, Verdict]:
    """Run a drill. Returns its folder and verdict: also of one whose undo failed, which is `failed`.

    Raises RefusedError when the estate is not as the hypothesis says, or an earlier drill is not undone:
    then nothing was done, and no folder is left. Raises YiyunError when the evidence cannot be written.
    """
    refuse_unfinished(paths)
    progress("looking up who is the writer")
    status = collect(estate, paths, lambda _: None, monitoring_status).fields
    roles = roles_now(estate, status)
    concrete = resolved(drill, estate, roles)
    folder = new_folder(paths, drill.name)
    folder.drill.write_text(concrete.model_dump_json(indent=1) + "\n", encoding="utf-8")
    journal = Journal(folder.journal)
    began = time.time()
    journal.note(
        "began", drill=drill.name, seed=seed, roles=roles, estate=estate.estate, scope=estate.provider
    )
    place = Place(estate, paths, folder.path.name.rpartition("-")[2])
    running: list[Running] = []
    ground = LabGround(place, lambda: next((t for r in running if (t := r.trouble())), ""))
    offer = OFFERS[concrete.workload.kind]

    def load() -> None:
        progress("the workload begins")
        client = roles.get("client", "")
        host = roles.get(offer.stands_at, "")
        journal.note("load", kind=concrete.workload.kind, host=host, total=offer.total)
        running.append(offer.begin(estate, paths, concrete.workload, folder.history, seed, client))
        ground.hold(WARM_UP_SECONDS)
        progress("the fault")

    folder.keep_about(about(folder.path.name, estate, paths, people, []))
    members = [h.name for h in estate.hosts_with("db")]
    journal.note("conflicts", counts=conflicts(paths, members))
    try:
        run(concrete, ground, journal, load)
    except RefusedError:
        shutil.rmtree(folder.path)
        raise
    except OSError as error:
        hint = "free space, then yiyun drill resume"
        raise YiyunError(f"the evidence cannot be written: {error}", hint=hint) from None
    except YiyunError as error:
        journal.note("aborted", reason=error.message)
        progress(error.message)
    else:
        _end(running)
        journal.note("conflicts", counts=conflicts(paths, members))
        journal.note("collected", operations=folder.operations())
    finally:
        _end(running)
        journal.close()
    progress("reading what every member holds, and what each layer saw")
    silent: list[str] = []
    try:
        folder.keep_held(offer.held(estate, paths))
    except YiyunError as error:
        silent.append(f"members: {error.message}")
    seen, deaf = gather(estate, paths, began)
    folder.keep_seen(seen)
    folder.keep_about(about(folder.path.name, estate, paths, people, [*silent, *deaf]))
    clear(folder, estate, paths, progress)
    return folder, folder.verdict()


def _end(running: list[Running]) -> None:
    for workload in running:
        workload.end()


def clear(folder: Folder, estate: Estate, paths: EstatePaths, progress: Callable[[str], None]) -> str:
    """Remove what a drill's workload made. Returns its kind, or an empty string when there was nothing.

    What cannot be removed now is noted, and goes before the next drill of its kind or with `drill resume`:
    the drill's verdict does not hang on it.
    """
    kind = to_remove(folder.events())
    leave = OFFERS[kind].leave if kind else None
    if leave is None:
        return ""
    progress("removing what the workload made")
    journal = folder.open_journal()
    try:
        leave(estate, paths)
        journal.note("cleared", kind=kind)
    except YiyunError as error:
        journal.note("not-cleared", kind=kind, reason=error.message)
        return ""
    finally:
        journal.close()
    return kind


def resume(estate: Estate, paths: EstatePaths, progress: Callable[[str], None]) -> list[str]:
    """Undo what drills left whose controller died. Returns what was undone. Raises YiyunError."""
    said: list[str] = []
    for folder, orders in _left(paths):
        journal = folder.open_journal()
        journal.note("resumed")
        progress(f"undoing {folder.path.name}")
        try:
            finish_undo(orders, LabGround(Place(estate, paths, folder.path.name.rpartition("-")[2])), journal)
        finally:
            journal.close()
        said += [f"{folder.path.name}: {order['kind']}" for order in orders]
    for folder in folders(paths):
        if kind := clear(folder, estate, paths, progress):
            said.append(f"{folder.path.name}: what the {kind} workload made")
    return said


def refuse_unfinished(paths: EstatePaths) -> None:
    """Raises RefusedError when an earlier drill is not undone."""
    left = [folder.path.name for folder, _ in _left(paths)]
    if left:
        raise RefusedError(f"not undone: {', '.join(left)}", hint="yiyun drill resume")


def summary(verdict: Verdict) -> dict[str, object]:
    """The verdict's figures as the command contract has them."""
    findings, felt = verdict.findings, verdict.felt
    return {
        "verdict": verdict.word,
        "reasons": [str(reason) for reason in verdict.reasons],
        "rto_s": rounded(felt and felt.rto),
        "full_strength_s": None if verdict.full_strength is None else round(verdict.full_strength, 1),
        "rpo_s": round(verdict.rpo, 3),
        "acknowledged": findings.acknowledged,
        "lost": findings.count("lost"),
        "indeterminate": findings.unknown,
        "failed": findings.failed,
        "failed_requests": None if felt is None else felt.failed,
        "added_p99_s": rounded(felt and felt.added_p99),
        "added_p99_return_s": rounded(felt and felt.added_p99_return),
        "stale_reads": findings.count("stale"),
        "conflicts": verdict.conflicts,
        "two_writers_s": round(verdict.two_writers, 3),
        "violations": [asdict(v) for v in findings.violations],
    }


def _left(paths: EstatePaths) -> Iterator[tuple[Folder, list[dict[str, object]]]]:
    for folder in folders(paths):
        if orders := unfinished(folder.events()):
            yield folder, orders


def new_folder(paths: EstatePaths, name: str) -> Folder:
    """An empty folder for the evidence of a drill. Raises YiyunError when the disk does not take it."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = paths.drills / f"{now}-{name}-{secrets.token_hex(3)}"
    try:
        path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise YiyunError(f"no folder for the evidence: {error}", hint="free space on this machine") from None
    return Folder(path)
