"""`yiyun secrets`: what there is, replacing it under load, and the key that opens it kept apart."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, YesOption, confirm, reporting
from infra.engine.lock import estate_lock
from infra.errors import BadInputError
from infra.paths import EstatePaths
from infra.rotation.catalogue import catalogue
from infra.rotation.listing import Listed, due_names, listing
from infra.rotation.model import Work
from infra.rotation.recovery import export_recovery, import_recovery
from infra.rotation.run import Outcome, choose, plan, rotate
from infra.trust.material import Material
from monitoring.keys import MonitoringKeys
from runbooks.backups.own_state import deposit_state

app = typer.Typer(help="Passwords, keys and certificates: list, rotate, recover.", no_args_is_help=True)

PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="File with the passphrase; - is standard input.")
]


@app.command("list")
def secrets_list(
    due: Annotated[bool, typer.Option("--due", help="Only those that should have been replaced.")] = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Every secret, certificate and key: kind, users, age, when it is due. Never a value."""
    with reporting("secrets list", estate, json_output, quiet) as report:
        loaded = report.load()
        _must_have_secrets(report.paths)
        now = datetime.now(UTC)
        listed = listing(loaded, Material(loaded, report.paths))
        shown = [one for one in listed if one.overdue(now)] if due else listed
        report.fields |= {
            "secrets": [one.as_json(now) for one in shown],
            "overdue": sum(one.overdue(now) for one in listed),
        }
        _show_list(report, shown, now)


@app.command("rotate")
def secrets_rotate(
    what: Annotated[
        list[str] | None, typer.Argument(help="Names or kinds, as `secrets list` shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that can be rotated.")] = False,
    due: Annotated[bool, typer.Option("--due", help="What should have been replaced by now.")] = False,
    hasten: Annotated[
        bool,
        typer.Option("--now", help="Do not wait for those who still use the old one (sessions, outside)."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say the phases, and what restarts or reloads.")
    ] = False,
    yes: YesOption = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Replace secrets while everything runs. Interrupted, the next run finishes what was begun.

    What opens the copies in the other region is there anew before it ends.
    """
    with reporting("secrets rotate", estate, json_output, quiet) as report:
        loaded = report.load()
        _must_have_secrets(report.paths)
        if (everything or due) and what:
            raise BadInputError("names do not go with --all or --due", hint="one or the other")
        with report.progress() as progress, estate_lock(report.paths, report.command, progress):
            material = Material(loaded, report.paths)
            every = catalogue(loaded, material.store.names())
            names = due_names(listing(loaded, material), datetime.now(UTC)) if due else None
            chosen = choose(every, what or (), everything=everything, due=names)
            planned = plan(chosen)
            report.fields |= {"dry_run": dry_run, "rotations": [p.as_json() for p in planned]}
            if dry_run:
                _show_plan(report, planned)
                return
            question = f"Rotate {len(chosen)} secrets of {loaded.estate}?"
            confirm(report, question, yes=yes, destroys=False)
            told = MonitoringKeys(loaded, report.paths, progress)
            work = Work(loaded, report.source, report.paths, progress, told)
            outcomes = rotate(work, chosen, every, hasten=hasten)
            report.fields["rotations"] = [o.as_json() for o in outcomes]
            _show_outcomes(report, outcomes)
            deposit_state(loaded, report.paths, progress)


@app.command("export-recovery")
def secrets_export(
    to: Annotated[Path, typer.Argument(help="The file to write.")],
    recipient: Annotated[str, typer.Option("--recipient", help="age recipient (age1…), a public key.")] = "",
    passphrase_file: PassphraseOption = None,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the key that opens the secrets to a file of its own, encrypted. Keep it away from the state."""
    with reporting("secrets export-recovery", estate, json_output, quiet) as report:
        loaded = report.load()
        if bool(recipient) == (passphrase_file is not None):
            raise BadInputError("give --recipient or --passphrase-file", hint="one of the two")
        export_recovery(
            loaded, report.paths, to, recipient=recipient, passphrase=_first_line(passphrase_file)
        )
        report.fields |= {"file": str(to)}
        report.say(f"wrote {to}; back: yiyun secrets import-recovery {to}")


@app.command("import-recovery")
def secrets_import(
    file: Annotated[Path, typer.Argument(help="A file that export-recovery wrote.", exists=True)],
    identity_file: Annotated[
        Path | None, typer.Option("--identity-file", help="age identity of the recipient.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put the key that opens the secrets back, after trying it. Never replaces one that works."""
    with reporting("secrets import-recovery", estate, json_output, quiet) as report:
        report.load()
        if (identity_file is None) == (passphrase_file is None):
            raise BadInputError("give --identity-file or --passphrase-file", hint="one of the two")
        identity = _identity(identity_file)
        import_recovery(report.paths, file, identity=identity, passphrase=_first_line(passphrase_file))
        report.fields |= {"file": str(file)}
        report.say("the secrets can be opened again")


def _must_have_secrets(paths: EstatePaths) -> None:
    if not paths.secrets.exists():
        raise BadInputError("this estate has no secrets here", hint="yiyun up makes them")


def _first_line(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        text = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{file}: {error.strerror}", hint="a file with the passphrase, or -") from None
    return text.splitlines()[0] if text.strip() else ""


def _identity(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInputError(f"{file}: {error.strerror}", hint="a file as age-keygen writes it") from None
    found = next((line for line in lines if line.startswith("AGE-SECRET-KEY-")), None)
    if found is None:
        raise BadInputError(f"{file} holds no age identity", hint="a file as age-keygen writes it")
    return found


def _show_list(report: Report, shown: list[Listed], now: datetime) -> None:
    table = Table("name", "kind", "hosts", "age", "due", "", box=None)
    table.columns[0].no_wrap = True
    table.columns[0].min_width = max((len(one.entry.name) for one in shown), default=4)
    for one in shown:
        age = f"{(now - one.since).days} d" if one.since else "unknown"
        due = f"{one.due:%Y-%m-%d}" if one.due else "-"
        mark = "[red]overdue[/]" if one.overdue(now) else (f"in rotation: {one.phase}" if one.phase else "")
        hosts = " ".join(one.entry.hosts) if len(one.entry.hosts) < 6 else f"{len(one.entry.hosts)} hosts"
        table.add_row(one.entry.name, one.entry.kind, hosts, age, due, mark)
    report.say(table)


def _show_plan(report: Report, planned: list[Outcome]) -> None:
    for one in planned:
        report.say(f"[bold]{one.kind}[/]  {', '.join(one.names)}")
        for phase in one.phases:
            wait = f" (after {phase['wait_hours']:g} h, or --now)" if phase["wait_hours"] else ""
            report.say(f"  {phase['name']:10} {phase['purpose']}{wait}")
            for touched in phase["touches"]:
                report.say(f"             {touched}")


def _show_outcomes(report: Report, outcomes: list[Outcome]) -> None:
    for one in outcomes:
        seconds = sum(p["seconds"] for p in one.phases)
        tail = f", goes on after {one.waiting_until}" if one.waiting_until else ""
        report.say(f"{one.status} {one.kind}: {', '.join(one.names)} ({seconds:.0f} s{tail})")
    if not outcomes:
        report.say("nothing to rotate")
