"""The region is gone: the estate comes back for good where its copies are. People decide it, this does it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import RefusedError, YiyunError
from infra.estate.addresses import elastic_addresses
from infra.estate.recovery import successor_of
from infra.reach import run_on
from infra.steps.model import Context, Selection, Step, StepResult, run_steps
from runbooks.recovery.away import away
from runbooks.recovery.fetch import fetch_bundle, fetch_state, settle
from runbooks.recovery.way import steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.bundle.model import Bundle
    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.rotation.recovery import Kit
    from runbooks.recovery.away import Away
    from runbooks.recovery.fetch import LostState

KNOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Prepared:
    """What was brought: the estate that was lost, the one that takes its place, where that is written."""

    lost: LostState
    successor: Estate
    paths: EstatePaths
    file: Path
    bundle: Bundle


@dataclass
class Taken:
    """How far it came."""

    prepared: Prepared | None = None
    steps: list[StepResult] = field(default_factory=list[StepResult])

    @property
    def addresses(self) -> dict[str, str]:
        """Public addresses that the county's name server has to tell from now on, by name."""
        if self.prepared is None:
            return {}
        return {name: str(a) for name, a in elastic_addresses(self.prepared.successor).items()}


def take_over(
    kit: Kit,
    moment: Sequence[str],
    taken: Taken,
    announce: Callable[[str], None],
    progress: Callable[[str], None],
) -> None:
    """From the kit to a platform that serves in the other region. Raises YiyunError; run again, it goes on.

    `moment`: as `way.steps_of` has it. `announce`: is told each phase as it begins.
    """
    work = Path(tempfile.mkdtemp(prefix="yiyun-recover-"))
    try:
        with away(kit) as there:
            announce("escrow")
            taken.prepared = prepared = _prepare(there, kit, work, announce, progress)
        estate, paths = prepared.successor, prepared.paths
        context = Context(estate, str(prepared.file), paths, progress, results={"bundle": prepared.bundle})

        def told(item: Step | StepResult) -> None:
            if isinstance(item, Step):
                announce(item.name)
                progress(item.purpose)
            else:
                taken.steps.append(item)

        run_steps(steps_of(estate, moment), context, Selection(), told)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _prepare(
    there: Away, kit: Kit, work: Path, announce: Callable[[str], None], progress: Callable[[str], None]
) -> Prepared:
    progress("the estate's own state, from the copies")
    lost = fetch_state(there)
    successor = successor_of(lost.estate, kit.premises)
    paths, file = settle(lost, successor, kit.identity)
    announce("bundle")
    there.fetch_tools()
    bundle = fetch_bundle(there, lost, paths, work / "bundle", progress)
    return Prepared(lost, successor, paths, file, bundle)


def refuse_alive(kit: Kit, paths: EstatePaths) -> None:
    """Raises RefusedError when a host of the estate answers: two regions that serve would part for good.

    Where nothing of the estate is known here, nobody can be asked: then people answer for it.
    """
    if not paths.ssh_config.exists():
        return
    for host in sorted(kit.signers):
        if _answers(paths, host):
            raise RefusedError(
                f"{host} of {kit.estate} answers: its region is not gone",
                hint="stop what is left of it first, or rehearse: yiyun drill run remote-backup",
                where=host,
            )


def _answers(paths: EstatePaths, host: str) -> bool:
    try:
        return run_on(paths, host, ["true"], seconds=KNOCK_SECONDS).returncode == 0
    except YiyunError:
        return False
