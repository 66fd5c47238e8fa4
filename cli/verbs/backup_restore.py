"""`yiyun backup restore|query|test`: the way back, on the operations host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, reporting
from cli.verbs.backup import AsOfOption, RegionOption, complain, then
from cli.verbs.look import must_be_deployed
from infra.errors import BadInputError
from infra.estate.backups import items_of
from infra.services.backup import BACKUP_TRIAL, REPOSITORY
from infra.services.storage import ATTACHMENTS
from infra.trust.material import Material
from runbooks.backups.agent import LONGEST, ask
from runbooks.backups.hosts import agents, base_taker, far_region, restorer

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.paths import EstatePaths

DATABASE = "mysql"
TABLE = re.compile(r"\w{1,64}\.\w{1,64}")
RESTORES = BACKUP_TRIAL.data_paths[0]
IDENTITY_WORDS = ("--identity", BACKUP_TRIAL.secret_files[0].path)
AtOption = Annotated[str, typer.Option("--at", help="A time with its offset: 2026-11-28T12:00:00+08:00.")]
GtidOption = Annotated[str, typer.Option("--gtid", help="Exactly this GTID set.")]
BeforeOption = Annotated[str, typer.Option("--before", help="Everything before this transaction (GTID).")]


def add_to(app: typer.Typer) -> None:
    """The verbs that bring back."""
    app.command("restore")(restore)
    app.command("query")(query)
    app.command("test")(rehearse)


def restore(
    what: Annotated[
        str,
        typer.Argument(
            help="mysql, one table of it (SCHEMA.TABLE), an object (attachments/KEY), or files: HOST:SERVICE."
        ),
    ] = DATABASE,
    at: AtOption = "",
    gtid: GtidOption = "",
    before: BeforeOption = "",
    region: RegionOption = "",
    as_of: AsOfOption = "",
    base: Annotated[str, typer.Option("--base", help="This base; else the newest that will do.")] = "",
    to: Annotated[str, typer.Option("--to", help="Name of a new folder below /data/restore there.")] = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Bring the database back to a moment, into an empty folder of the operations host. Serves nobody yet.

    One table of it comes as statements in a new file there, one attachment as the file that it was; what was
    saved of a service on a host comes as it was saved last.
    """
    with reporting("backup restore", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        host, name = restorer(loaded), to or f"restored-{report.started:%Y%m%dT%H%M%SZ}"
        moment, folder = moment_words(at, gtid, before), f"{RESTORES}/{folder_name(name)}"
        words = _words(loaded, what, folder, moment, base=base, region=region)
        words += then(as_of) if words[0] != "object" else []
        with report.progress() as progress:
            progress(f"{host}: restoring to {folder}")
            brought = _brought(loaded, report.paths, what) if words[0] == "files" else ""
            told = ask(report.paths, host, *words, stdin=brought, seconds=LONGEST, tell=progress)
        report.fields |= {k: v for k, v in told.items() if k != "ok"} | {"host": host, "folder": folder}
        if words[0] == "files":
            report.say(f"{what} of {told['taken'][:19]}: {told['files']} files")
            report.say(f"from {told['region']} in {told['seconds']:.1f} s, to {folder} on {host}")
            return
        if words[0] == "object":
            report.say(f"{what} of {told['written'][:19]} is {told['file']} on {host}")
            return
        seconds = sum(p["seconds"] for p in told["phases"])
        rows, more = told.get("rows"), told.get("transactions")
        held = f"a base and {more} transactions" if rows is None else f"{rows} rows"
        report.say(f"{what}: {told['moment']}, {held}")
        report.say(f"from {told['region']} in {seconds:.1f} s, to {folder} on {host}")
        for warning in told["warnings"]:
            report.say(f"[yellow]{warning}[/]")


def _words(estate: Estate, what: str, folder: str, moment: list[str], *, base: str, region: str) -> list[str]:
    """What the agent is asked. Raises BadInputError for what does not go together."""
    bucket, _, key = what.partition("/")
    if bucket == ATTACHMENTS and key:
        if base or (moment and moment[0] != "--at"):
            raise BadInputError("an object has versions by time only", hint="--at TIME, or the newest")
        names = [b.name for b in estate.buckets if b.copy_of == ATTACHMENTS and region in {"", b.region}]
        to = f"{folder}/{folder_name(key.rpartition('/')[2])}"
        return ["object", "--bucket", *(names or [ATTACHMENTS])[:1], "--key", key, "--to", to, *moment]
    if what == DATABASE:
        words = ["restore", "--to", f"{folder}/data", *moment, *_from(region)]
        return [*words, *(["--base", base] if base else []), *IDENTITY_WORDS]
    of, colon, service = what.partition(":")
    if colon:
        return _files_words(estate, of, service, folder, moment, region=region)
    if base or not TABLE.fullmatch(what):
        text = f"{what} is no table, and --base is for all of {DATABASE}" if base else f"what is {what}?"
        raise BadInputError(text, hint=f"{DATABASE}, SCHEMA.TABLE, {ATTACHMENTS}/KEY or HOST:SERVICE")
    to = ["--to", f"{folder}/{what}.sql", "--in", f"{RESTORES}/query"]
    return ["table", "--table", what, *to, *moment, *_from(region), *IDENTITY_WORDS]


def _files_words(
    estate: Estate, of: str, service: str, folder: str, moment: list[str], *, region: str
) -> list[str]:
    """What was saved of a service. Raises BadInputError for a moment, or what no host has."""
    if moment:
        raise BadInputError("files come as they were saved last", hint="yiyun backup list shows when")
    saved = [i.service for i in items_of(estate.host(of))] if of in agents(estate) else []
    if service not in saved:
        there = ", ".join(saved) or f"hosts with backups: {', '.join(agents(estate))}"
        raise BadInputError(f"nothing of {service} is saved on {of}", hint=there)
    words = ["files", "--host", of, "--service", service, "--to", f"{folder}/files"]
    return [*words, "--password", "-", *_from(region)]


def _brought(estate: Estate, paths: EstatePaths, what: str) -> str:
    """The password of the repository of the host whose files are asked for."""
    host = estate.host(what.partition(":")[0])
    return Material(estate, paths).host_secrets(host)[REPOSITORY] + "\n"


def query(
    statement: Annotated[str, typer.Argument(help="One statement that reads.")],
    at: AtOption = "",
    gtid: GtidOption = "",
    before: BeforeOption = "",
    region: RegionOption = "",
    as_of: AsOfOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask the database as it was at a moment: on a server that is made for it, and thrown away."""
    with reporting("backup query", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        host, words = restorer(loaded), moment_words(at, gtid, before)
        with report.progress() as progress:
            progress(f"{host}: restoring, to ask it")
            asked = ("query", statement, "--in", f"{RESTORES}/query", *words, *_from(region), *then(as_of))
            told = ask(report.paths, host, *asked, *IDENTITY_WORDS, seconds=LONGEST, tell=progress)
        report.fields |= {k: v for k, v in told.items() if k != "ok"}
        table = Table(*told["columns"], box=None)
        for row in told["rows"]:
            table.add_row(*("NULL" if value is None else value for value in row))
        report.say(table)
        if told["cut_off"]:
            report.say(f"[yellow]only the first {len(told['rows'])} rows[/]")


def rehearse(
    region: Annotated[str, typer.Option("--region", help="From this region; else the far one.")] = "",
    as_of: AsOfOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Restore the database from one region alone, compare every row with its source, and throw it away."""
    with reporting("backup test", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        host, source = restorer(loaded), base_taker(loaded)
        with report.progress() as progress:
            progress(f"{source}: reading every table")
            summed = ask(report.paths, source, "sum", seconds=LONGEST, tell=progress)
            progress(f"{host}: restoring what was read")
            asked = (
                "rehearse",
                "--in",
                f"{RESTORES}/rehearsal",
                *_from(region or far_region(loaded)),
                *then(as_of),
            )
            told = ask(report.paths, host, *asked, *IDENTITY_WORDS, seconds=LONGEST, tell=progress)
        report.fields |= {k: v for k, v in told.items() if k != "ok"}
        report.fields |= {"held_s": summed["held_s"], "tables": len(summed["tables"])}
        report.say(f"{told['region']}: {told['compared']}, in {told['seconds']} s")
        complain(report, told["problems"])


def folder_name(name: str) -> str:
    """A plain name of a folder. Raises BadInputError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise BadInputError(f"no name of a folder: {name}", hint="letters, digits, dots and dashes")
    return name


def moment_words(at: str, gtid: str, before: str) -> list[str]:
    """The moment as the agent is told it. Raises BadInputError when more than one is named."""
    named = [(word, value) for word, value in (("--at", at), ("--gtid", gtid), ("--before", before)) if value]
    if len(named) > 1:
        raise BadInputError("only one moment", hint="--at, --gtid or --before; none is the newest state")
    return [part for pair in named for part in pair]


def _from(region: str) -> list[str]:
    return ["--from", region] if region else []
