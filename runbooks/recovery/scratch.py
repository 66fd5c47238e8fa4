"""Scratch hosts in the region of the copies: made from them alone, held to the source, taken down."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.drivers.lab import realise as lab_driver
from infra.errors import YiyunError
from infra.estate.addresses import elastic_addresses
from infra.estate.recovery import rehearsal_of
from infra.reach import run_on
from infra.steps.model import Context, Selection, Step, StepResult, run_steps
from runbooks.backups.agent import LONGEST, ask
from runbooks.recovery.away import away
from runbooks.recovery.fetch import fetch_bundle, fetch_state, settle
from runbooks.recovery.pages import differences, first_page, settings_for, shown
from runbooks.recovery.way import steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.rotation.recovery import Kit
    from runbooks.recovery.source import Source

    Phase = Callable[[str], None]

SERVED_SECONDS = 120.0
KNOCK_SECONDS = 3


@dataclass
class Scratch:
    """A rehearsal's estate: where it is, and what was compared. Filled while it is made."""

    estate: Estate | None = None
    paths: EstatePaths | None = None
    steps: list[StepResult] = field(default_factory=list[StepResult])
    compared: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    deposited: str = ""
    bundle: str = ""

    def note(self, what: str, of: int, problems: Sequence[str], text: str = "") -> None:
        """One comparison: of how many things, and what differs."""
        self.compared.append({"what": what, "of": of, "problems": list(problems)[:20], "text": text})


def bring_up(
    kit: Kit, source: Source, folder: Path, made: Scratch, phase: Phase, progress: Callable[[str], None]
) -> None:
    """From the kit and the copies to a platform that serves. Raises YiyunError where it goes no further.

    `phase`: told each phase as it begins. `folder`: where the bundle is kept meanwhile.
    """
    with away(kit) as there:
        phase("escrow")
        progress("the estate's own state, from the copies")
        lost = fetch_state(there)
        made.estate, made.deposited = rehearsal_of(lost.estate), lost.deposited
        made.paths, file = settle(lost, made.estate, kit.identity)
        phase("bundle")
        there.fetch_tools()
        bundle = fetch_bundle(there, lost, made.paths, folder, progress)
    made.bundle = bundle.lock.inputs
    context = Context(made.estate, str(file), made.paths, progress, results={"bundle": bundle})
    moment = ("gtid", source.gtids)
    steps = steps_of(made.estate, moment, lambda _: _hold_rows(made, source, progress))

    def announce(item: Step | StepResult) -> None:
        if isinstance(item, Step):
            phase(item.name)
            progress(item.purpose)
        else:
            made.steps.append(item)

    run_steps(steps, context, Selection(), announce)
    phase("serving")
    first_page(settings_for(made.estate, made.paths, source.residents), SERVED_SECONDS)


def _hold_rows(made: Scratch, source: Source, progress: Callable[[str], None]) -> int:
    """Every table, row by row, at the set that was restored: before anybody may write to it."""
    estate, paths = _there(made)
    member = next(h.name for h in estate.hosts_with("db"))
    told = ask(paths, member, "compare", "--gtid", source.gtids, seconds=LONGEST, tell=progress)
    rows = sum(int(table["rows"]) for table in told["tables"])
    text = f"{len(told['tables'])} tables, {rows} rows, at the set of {told['of']}"
    made.note("tables", len(told["tables"]), told["problems"], text)
    return 0


def hold_pages(made: Scratch, source: Source) -> None:
    """The sample of residents as the recovered platform shows them, their attachments by hash."""
    estate, paths = _there(made)
    found = shown(settings_for(estate, paths, source.residents))
    said = differences(source.shown, found)
    made.note("residents", len(source.shown.residents), [s for s in said if s.startswith("resident")])
    made.note("attachments", len(source.shown.attachments), [s for s in said if s.startswith("attachment")])


def hold_apart(made: Scratch, origin: Estate) -> None:
    """That nothing of the estate itself can be reached or written from the scratch hosts."""
    estate, paths = _there(made)
    public = [str(a) for a in elastic_addresses(origin).values()]
    asked = [(h.name, address) for h in estate.hosts for address in public]
    reached = [f"{host} reaches {address}" for host, address in asked if _reaches(paths, host, address)]
    writers = [h.name for h in estate.hosts]
    written = [f"{host} could write into the copies" for host in writers if _writes(paths, host)]
    made.note("isolation", len(asked) + len(writers), [*reached, *written])


def _reaches(paths: EstatePaths, host: str, address: str) -> bool:
    knock = f"exec 3<>/dev/tcp/{shlex.quote(address)}/443"
    done = run_on(paths, host, ["timeout", str(KNOCK_SECONDS), "bash", "-c", knock])
    return done.returncode == 0


def _writes(paths: EstatePaths, host: str) -> bool:
    """A deposit is the least that an agent stores: with what a scratch host has, the store must refuse it."""
    try:
        ask(paths, host, "deposit", "--name", "rehearsal", stdin=b"must be refused")
    except YiyunError as error:
        if "403" in error.message or "AccessDenied" in error.message:
            return False
        raise
    return True


def take_down(made: Scratch, progress: Callable[[str], None]) -> list[str]:
    """Remove the scratch hosts, their disks and their secrets. Returns what is left, which is nothing."""
    if made.paths is None:
        return []
    lab_driver.remove(made.paths, progress)
    left = list(lab_driver.leftovers(made.paths.estate))
    if not left:
        lab_driver.forget(made.paths)
    return left


def _there(made: Scratch) -> tuple[Estate, EstatePaths]:
    if made.estate is None or made.paths is None:
        raise YiyunError("there are no scratch hosts yet", hint="bring_up makes them")
    return made.estate, made.paths
