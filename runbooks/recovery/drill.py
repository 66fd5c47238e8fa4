"""`drill run remote-backup`: the way back, gone once beside the estate. Its evidence goes into a folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import RefusedError, YiyunError
from infra.estate.recovery import PREFIX
from infra.paths import EstatePaths
from infra.rotation.recovery import kit_of
from infra.trust.store import key_file
from runbooks.backups.hosts import far_region
from runbooks.drills.about import about
from runbooks.drills.conduct import new_folder, refuse_unfinished
from runbooks.drills.journal import Journal
from runbooks.recovery.scratch import Scratch, bring_up, hold_apart, hold_pages, take_down
from runbooks.recovery.source import read_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate
    from infra.rotation.recovery import Kit
    from runbooks.drills.about import People
    from runbooks.drills.evidence.verdict import Verdict
    from runbooks.drills.folder import Folder
    from runbooks.drills.rehearsal import Rehearsal


def rehearse(
    drill: Rehearsal,
    estate: Estate,
    paths: EstatePaths,
    seed: int,
    people: People,
    progress: Callable[[str], None],
    kit: Kit | None = None,
) -> tuple[Folder, Verdict]:
    """Go the way back. `kit`: the recovery kit as it was opened; else one is made of what is here now.

    Whatever happens, the scratch hosts go. Raises RefusedError when an earlier rehearsal still stands, or a
    drill is not undone: then nothing was done.
    """
    refuse_unfinished(paths)
    refuse_standing(estate)
    folder = new_folder(paths, drill.name)
    folder.drill.write_text(drill.model_dump_json(indent=1) + "\n", encoding="utf-8")
    folder.keep_about(about(folder.path.name, estate, paths, people, []))
    journal = Journal(folder.journal)
    journal.note("began", drill=drill.name, seed=seed, estate=estate.estate, scope=estate.provider)
    made = Scratch()
    work = Path(tempfile.mkdtemp(prefix="yiyun-rehearsal-"))
    try:
        _go(drill, estate, paths, seed, journal, made, work, kit, progress)
    except YiyunError as error:
        journal.note("aborted", name="aborted", reason=error.message)
        progress(error.message)
    finally:
        for compared in made.compared:
            journal.note("compared", **compared)
        progress("taking the scratch hosts down")
        left = take_down(made, progress)
        journal.note("taken-down", left=left)
        shutil.rmtree(work, ignore_errors=True)
        journal.note("ended")
        journal.close()
    return folder, folder.verdict()


def _go(
    drill: Rehearsal,
    estate: Estate,
    paths: EstatePaths,
    seed: int,
    journal: Journal,
    made: Scratch,
    work: Path,
    kit: Kit | None,
    progress: Callable[[str], None],
) -> None:
    source = read_source(estate, paths, drill.workload.residents, seed, progress)
    opened = kit or kit_of(estate, paths, key_file(paths).read_text(encoding="ascii").strip())
    journal.note(
        "source",
        gtids=source.gtids,
        entry=source.entry,
        tables=source.tables,
        rows=source.rows,
        behind_s=source.behind_s,
        region=far_region(estate),
        residents=list(source.residents),
        kit="given" if kit else "made now",
    )
    # From here on nothing of the estate is used: only the kit, and what the other region has.
    journal.note("gone")

    def phase(name: str) -> None:
        journal.note("phase", name=name)

    bring_up(opened, source, work / "bundle", made, phase, progress)
    journal.note("serving", name="serving")
    progress("the pages beside the source's, and what can be reached")
    hold_pages(made, source)
    hold_apart(made, estate)


def clear_standing(estate: Estate, progress: Callable[[str], None]) -> list[str]:
    """Take down what an earlier rehearsal left whose controller died. Returns what was taken down."""
    scratch = EstatePaths(f"{PREFIX}{estate.estate}")
    if not scratch.root.exists():
        return []
    progress(f"taking {scratch.estate} down")
    left = take_down(Scratch(paths=scratch), progress)
    if left:
        raise YiyunError(f"{scratch.estate} could not be taken down: {left[0]}", hint="yiyun drill resume")
    return [f"{scratch.estate}: the scratch hosts of a rehearsal"]


def refuse_standing(estate: Estate) -> None:
    """Raises RefusedError when the scratch hosts of an earlier rehearsal are there."""
    scratch = EstatePaths(f"{PREFIX}{estate.estate}")
    if scratch.root.exists():
        raise RefusedError(
            f"{scratch.estate} stands already, of an earlier rehearsal",
            hint="yiyun drill resume takes it down",
            where=str(scratch.root),
        )
