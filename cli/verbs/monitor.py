"""`yiyun monitor`: what Zabbix should hold, what it holds, and making it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, YesOption, confirm, reporting
from cli.verbs.look import must_be_deployed
from infra.engine.lock import estate_lock
from infra.trust.store import SecretStore
from monitoring.access import TOKEN
from monitoring.sync import apply as apply_all
from monitoring.sync import drift

if TYPE_CHECKING:
    from infra.engine.changes import Change

CHANGES_PENDING = 2

app = typer.Typer(help="Zabbix as code: compare and apply.", no_args_is_help=True)


@app.command("diff")
def diff(
    estate: EstateOption = "lab",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 2 when something would change.")
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """What `monitor apply` would change in Zabbix: hand-made changes too. Changes nothing."""
    with reporting("monitor diff", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with report.progress() as progress:
            changes = drift(loaded, report.paths, progress)
        _put(report, changes)
        if exit_code and changes:
            report.exit_code = CHANGES_PENDING


@app.command("apply")
def apply(
    estate: EstateOption = "lab",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as `monitor diff`.")] = False,
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make Zabbix hold what the estate declares. What is not marked as ours is never touched."""
    with reporting("monitor apply", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        report.fields["dry_run"] = dry_run
        with report.progress() as progress:
            if dry_run:
                changes = drift(loaded, report.paths, progress)
            else:
                _refuse_unasked_removal(report, yes=yes)
                with estate_lock(report.paths, "monitor apply", progress):
                    changes = apply_all(loaded, report.paths, progress)
        _put(report, changes)
        report.fields["changed"] = 0 if dry_run else len(changes)


def _refuse_unasked_removal(report: Report, *, yes: bool) -> None:
    if yes or report.estate is None or TOKEN not in SecretStore(report.paths).names():
        return
    gone = [c.resource for c in drift(report.estate, report.paths) if c.action == "delete"]
    if gone:
        confirm(report, f"Remove {', '.join(gone)} from Zabbix?", yes=yes, destroys=True)


def _put(report: Report, changes: list[Change]) -> None:
    report.fields["changes"] = [c.as_json() for c in changes]
    if not changes:
        report.say("nothing to change")
        return
    table = Table("action", "what", "name", "property", "actual", "declared", box=None)
    for change in changes:
        head = (change.action, change.kind, change.resource)
        if not change.properties:
            table.add_row(*head, "", "", "")
        for number, entry in enumerate(change.properties):
            shown = head if number == 0 else ("", "", "")
            table.add_row(*shown, entry.name, str(entry.actual), str(entry.declared))
    report.say(table)
