"""`yiyun recover`: the region is gone, and the estate comes back where its copies are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.contract import JsonOption, QuietOption, YesOption, confirm, reporting
from cli.verbs.backup_restore import AtOption, GtidOption
from infra.engine.lock import estate_lock
from infra.errors import BadInputError
from infra.estate.recovery import PREFIX
from infra.paths import EstatePaths
from infra.rotation.recovery import Kit, read_kit
from runbooks.recovery.takeover import Taken, refuse_alive, take_over

if TYPE_CHECKING:
    from cli.contract import Report

KitArgument = Annotated[
    Path, typer.Argument(help="The recovery kit: `yiyun secrets export-recovery` made it.")
]


def recover(
    kit: KitArgument,
    identity_file: Annotated[
        Path | None, typer.Option("--identity-file", help="age identity that the kit was made for.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="File with the kit's passphrase.")
    ] = None,
    at: AtOption = "",
    gtid: GtidOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Open the kit and say what it leads to.")
    ] = False,
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Bring a lost estate back, in the region of its copies, from them and the kit alone. People decide this.

    Its successor is an estate like any other, with a file of its own: `yiyun up --estate FILE` completes it.
    """
    with reporting("recover", "", json_output, quiet) as report:
        opened = open_kit(kit, identity_file, passphrase_file)
        moment = moment_of(at, gtid)
        report.source, copies = opened.estate, opened.copies
        if copies is None:
            raise BadInputError("the kit does not say where the copies are", hint="export it anew")
        report.fields |= {
            "of": opened.estate,
            "made": opened.made,
            "region": copies.region,
            "dry_run": dry_run,
        }
        report.say(f"kit of {opened.estate}, made {opened.made}; copies in {copies.region}")
        if dry_run:
            return
        refuse_alive(opened, EstatePaths(opened.estate))
        question = f"The region of {opened.estate} counts as gone from now on. Take over in {copies.region}?"
        confirm(report, question, yes=yes, destroys=True)
        _take_over(report, opened, moment)


def _take_over(report: Report, kit: Kit, moment: tuple[str, ...]) -> None:
    began, taken, phases = time.monotonic(), Taken(), list[dict[str, object]]()

    def announce(name: str) -> None:
        phases.append({"name": name, "t": round(time.monotonic() - began, 1)})

    paths = EstatePaths(f"{PREFIX}{kit.estate}").ensure()
    with report.progress() as progress, estate_lock(paths, "recover", progress):
        take_over(kit, moment, taken, announce, progress)
    report.estate = taken.prepared.successor if taken.prepared else None
    seconds = round(time.monotonic() - began, 1)
    file = str(taken.prepared.file) if taken.prepared else ""
    report.fields |= {"phases": phases, "serving_s": seconds, "file": file, "addresses": taken.addresses}
    report.say(f"{paths.estate} serves after {seconds:.0f} s; its file is {file}")
    for name, address in taken.addresses.items():
        report.say(f"  {name} is {address} now: tell the county's name server")
    report.say(f"next: yiyun up --estate {file}, then yiyun status --estate {file}")


def open_kit(file: Path, identity_file: Path | None, passphrase_file: Path | None) -> Kit:
    """The kit, opened with what it was made for. Raises BadInputError."""
    if (identity_file is None) == (passphrase_file is None):
        raise BadInputError("give --identity-file or --passphrase-file", hint="one of the two")
    given = identity_file or passphrase_file
    try:
        lines = given.read_text(encoding="utf-8").splitlines() if given else []
    except OSError as error:
        raise BadInputError(f"{given}: {error}", hint="the file with what opens the kit") from None
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return read_kit(file, identity=first) if identity_file else read_kit(file, passphrase=first)


def moment_of(at: str, gtid: str) -> tuple[str, ...]:
    """What the database is brought back to; nothing is the newest state. Raises BadInputError."""
    if at and gtid:
        raise BadInputError("only one moment", hint="--at or --gtid; none is the newest state")
    return ("at", at) if at else ("gtid", gtid) if gtid else ()
