"""`yiyun backup show|copy|hold|prune`: what becomes of a backup after it was taken."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any

import typer

from cli.contract import EstateOption, JsonOption, QuietOption, Report, YesOption, confirm, reporting
from cli.verbs.backup import RegionOption, complain
from cli.verbs.look import must_be_deployed
from infra.errors import BadInputError
from infra.services.backup import BACKUP_PRUNING, PRUNER
from infra.trust.material import Material
from runbooks.backups.agent import LONGEST, ask
from runbooks.backups.hosts import agents, asker

IdArgument = Annotated[str, typer.Argument(help="A backup, as `backup list` names it.")]


def add_to(app: typer.Typer) -> None:
    """The verbs that keep."""
    app.command("show")(show)
    app.command("copy")(copy)
    app.command("hold")(hold)
    app.command("prune")(prune)


def show(
    backup: IdArgument,
    region: RegionOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """One entry of the signed catalogue, whole, and what later ones say of it."""
    with reporting("backup show", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        told = ask(report.paths, asker(loaded), "list", "--region", region)
        entry = next((e for e in told["entries"] if e["id"] == backup), None)
        if entry is None:
            raise BadInputError(f"no entry {backup} in {told['region']}", hint="yiyun backup list")
        later = [e for e in told["entries"] if backup in _named(e["body"])]
        report.fields |= {"region": told["region"], "entry": entry, "later": later}
        report.fields |= {
            "held": backup in told["held"],
            "locked_until": told["locked_until"].get(backup, ""),
        }
        report.say(json.dumps(entry, indent=1, ensure_ascii=False))
        for one in later:
            report.say(f"{one['ended'][:19]} {one['id']}: {json.dumps(one['body'], ensure_ascii=False)}")


def copy(
    host: Annotated[str, typer.Option("--host", help="Of this host only.")] = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Bring what a region lacks to it, now; each host does so once a day by itself."""
    with reporting("backup copy", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        copied: list[dict[str, Any]] = []
        problems: list[str] = []
        with report.progress() as progress:
            for name in agents(loaded, host):
                progress(f"{name}: what other regions lack")
                done = ask(report.paths, name, "copy", seconds=LONGEST, tell=progress)
                copied += [{"host": name, **one} for one in done["copied"]]
                problems += [f"{name}: {problem}" for problem in done["problems"]]
        report.fields |= {"copied": copied, "problems": problems}
        for one in copied:
            report.say(f"{one['host']}: {one['of']} is in {one['region']} now")
        if not copied and not problems:
            report.say("every region has everything")
        complain(report, problems)


def hold(
    backup: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is in the catalogue for good.")],
    on: Annotated[bool, typer.Option("--on/--off", help="Lay it on, or take it off.")] = True,
    by: Annotated[str, typer.Option("--by", help="Who wants it; else who runs this.")] = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Keep a backup, and the log from it on, until the hold is taken off: a legal hold."""
    with reporting("backup hold", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        words = [
            "--of",
            backup,
            "--on" if on else "--off",
            "--by",
            by or getpass.getuser(),
            "--reason",
            reason,
        ]
        told = ask(report.paths, asker(loaded), "hold", *words)
        report.fields |= {k: v for k, v in told.items() if k != "ok"}
        report.say(f"{backup} is held" if on else f"the hold on {backup} is taken off")
        report.say(f"held now: {', '.join(told['held']) or 'nothing'}")
        complain(report, told["problems"])


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    yes: YesOption = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove what is over, not held and locked no more, in every region. Its key goes along each time."""
    with reporting("backup prune", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        secret = Material(loaded, report.paths).passwords()[BACKUP_PRUNING.secrets[0].name]
        words = ("prune", "--account", PRUNER, "--secret", "-")
        with report.progress() as progress:
            told = ask(
                report.paths, asker(loaded), *words, "--dry-run", stdin=secret, seconds=LONGEST, tell=progress
            )
        if not dry_run and not told["problems"] and _removes(told):
            _say_pruned(report, told)
            confirm(report, "Remove that for good?", yes=yes, destroys=True)
            with report.progress() as progress:
                told = ask(report.paths, asker(loaded), *words, stdin=secret, seconds=LONGEST, tell=progress)
        report.fields |= {k: v for k, v in told.items() if k != "ok"}
        _say_pruned(report, told)
        complain(report, told["problems"])


def _removes(told: dict[str, Any]) -> bool:
    return bool(told["entries"] or told["versions"])


def _say_pruned(report: Report, told: dict[str, Any]) -> None:
    done = "would go" if told["dry_run"] else "are gone"
    report.say(
        f"{len(told['entries'])} backups and {told['versions']} versions {done}: {told['bytes'] / 1e6:.1f} MB"
    )
    for stream, count in told["segments"].items():
        if count:
            report.say(f"  {stream}: {count} of the oldest segments")
    if told["held"]:
        report.say(f"held: {', '.join(told['held'])}")
    if told["locked"]:
        report.say(f"{told['locked']} are not needed and still locked")


def _named(body: dict[str, Any]) -> tuple[str, ...]:
    of = body.get("of", ())
    return (of,) if isinstance(of, str) else tuple(of) if isinstance(of, list) else ()
