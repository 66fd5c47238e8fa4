"""`yiyun lab`: start, stop and remove the estate that lives on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.contract import EstateOption, JsonOption, QuietOption, Report, YesOption, confirm, reporting
from cli.steps import steps_of
from cli.verbs.look import rehearsed, show_status
from cli.verbs.provision import bring_up
from infra.drivers.lab import realise as lab_driver
from infra.engine.lock import estate_lock
from infra.errors import BadInputError
from infra.status import collect
from infra.steps.lab import start_steps
from infra.steps.model import Context, Selection, completed, run_steps
from monitoring.look import monitoring_status

if TYPE_CHECKING:
    from infra.estate.model import Estate

app = typer.Typer(help="The estate on this machine: start, stop, remove.", no_args_is_help=True)


@app.command("up")
def lab_up(
    estate: EstateOption = "lab",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Start the lab: after a stop or a reboot without redeploying, the first time from nothing."""
    with reporting("lab up", estate, json_output, quiet) as report:
        loaded = _lab(report)
        if not completed(report.paths.journal, steps_of(loaded)):
            bring_up(report, loaded, Selection(), yes=yes)
        else:
            _start(report, loaded)
        with report.progress() as progress:
            status = collect(loaded, report.paths, progress, monitoring_status)
        report.fields["status"] = status.fields | {"drills": rehearsed(report)}
        show_status(report, status)
        report.exit_code = 0 if status.ok else 1


@app.command("stop")
def lab_stop(
    estate: EstateOption = "lab", json_output: JsonOption = False, quiet: QuietOption = False
) -> None:
    """Stop the lab's hosts and processes; disks stay."""
    with reporting("lab stop", estate, json_output, quiet) as report:
        _lab(report)
        _must_exist(report)
        with report.progress() as progress, estate_lock(report.paths, "lab stop", progress):
            stopped = lab_driver.stop(report.paths, progress)
        report.fields["stopped"] = list(stopped)
        report.say(f"stopped {len(stopped)}; yiyun lab up starts again")


@app.command("down")
def lab_down(
    estate: EstateOption = "lab",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed.")] = False,
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove the lab with its disks and its state. Nothing of it is left, nothing else is touched."""
    with reporting("lab down", estate, json_output, quiet) as report:
        loaded = _lab(report)
        found = lab_driver.leftovers(loaded.estate)
        report.fields |= {"removed": [] if dry_run else list(found), "found": list(found), "dry_run": dry_run}
        if dry_run:
            for item in found:
                report.say(item)
            return
        confirm(report, f"Remove the lab {loaded.estate} with all its data?", yes=yes, destroys=True)
        paths = report.paths.ensure()
        with report.progress() as progress, estate_lock(paths, "lab down", progress):
            lab_driver.remove(paths, progress)
        lab_driver.forget(paths)
        report.say(f"removed {loaded.estate}: {len(found)} things")


def _start(report: Report, estate: Estate) -> None:
    with report.progress() as progress, estate_lock(report.paths, "lab up", progress):
        context = Context(estate, report.source, report.paths, progress)
        results = run_steps(start_steps(), context, Selection(), lambda _: None)
    report.fields["steps"] = [r.as_json() for r in results]
    report.fields["changed"] = sum(r.changed for r in results)


def _lab(report: Report) -> Estate:
    loaded = report.load()
    if loaded.provider != "lab":
        raise BadInputError(f"{loaded.estate} is not a lab", hint="name an estate whose provider is lab")
    return loaded


def _must_exist(report: Report) -> None:
    if not report.paths.records.exists():
        raise BadInputError("this lab was never brought up here", hint="yiyun lab up")
