"""`yiyun backup`: what is saved, saving it now, what there is, and whether it is what was stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, reporting
from cli.verbs.look import must_be_deployed
from runbooks.backups.agent import LONGEST, ask
from runbooks.backups.hosts import agents, asker, base_taker
from runbooks.backups.listing import listed
from runbooks.backups.own_state import state_problems
from runbooks.backups.planning import plan as plan_of

app = typer.Typer(help="Backups: taken, looked at, kept, and brought back.", no_args_is_help=True)
AsOfOption = Annotated[
    str, typer.Option("--as-of", help="Read the store as it was then, whatever was written over it since.")
]
RegionOption = Annotated[str, typer.Option("--region", help="Ask this region's store; else the near one.")]


@app.command("plan")
def plan(estate: EstateOption = "lab", json_output: JsonOption = False, quiet: QuietOption = False) -> None:
    """What is saved of the estate, how, how often and where to; and what need not be, with the reason."""
    with reporting("backup plan", estate, json_output, quiet) as report:
        found = plan_of(report.load())
        report.fields |= {
            "saved": [asdict(line) for line in found.lines],
            "stores": [{"region": region, "bucket": bucket} for region, bucket in found.stores],
            "not_saved": [{"service": name, "reason": reason} for name, reason in found.not_saved],
        }
        table = Table("what", "on", "how", "how often", box=None)
        for line in found.lines:
            table.add_row(line.what, " ".join(line.hosts) or "the provider", line.how, line.often)
        report.say(table)
        for region, bucket in found.stores:
            report.say(f"to {bucket} in {region}")


@app.command("run")
def run(
    what: Annotated[
        str, typer.Argument(help="mysql, or a service of a host's nightly backup; else all.")
    ] = "",
    host: Annotated[str, typer.Option("--host", help="This host only.")] = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Save now what is otherwise saved at night: the files of hosts, and a base of the database."""
    with reporting("backup run", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        hosts = agents(loaded, host)
        taken: list[dict[str, Any]] = []
        problems: list[str] = []
        with report.progress() as progress:
            if what in {"", "mysql"}:
                member = base_taker(loaded, host)
                progress(f"{member}: a base of the database")
                done = ask(report.paths, member, "base", seconds=LONGEST, tell=progress)
                taken.append({"host": member, "what": "mysql", "id": done["id"]})
                problems += done["problems"]
            for name in hosts if what != "mysql" else []:
                progress(f"{name}: saving")
                words = ["save", *(["--service", what] if what else [])]
                done = ask(report.paths, name, *words, seconds=LONGEST, tell=progress)
                taken += [
                    {"host": name, "what": e["body"]["service"], "id": e["id"]} for e in done["entries"]
                ]
                problems += [f"{name}: {problem}" for problem in done["problems"]]
        report.fields |= {"taken": taken, "problems": problems}
        for one in taken:
            report.say(f"{one['host']}: {one['what']} is {one['id']}")
        complain(report, problems)


@app.command("list")
def listing(
    region: RegionOption = "",
    as_of: AsOfOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Every backup in a region's signed catalogue, oldest first."""
    with reporting("backup list", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        told = ask(report.paths, asker(loaded), "list", "--region", region, *then(as_of))
        found = listed(told)
        report.fields |= {
            "region": told["region"],
            "backups": [asdict(one) for one in found],
            "log": told["log"],
            "problems": told["problems"],
        }
        table = Table("id", "what", "regions", "taken", "reaches", "MB", "verified", "held until", box=None)
        for one in found:
            times = [
                time[:16].replace("T", " ")
                for time in (one.taken, one.covers_to, one.verified, one.held_until)
            ]
            table.add_row(
                one.id, one.what, str(len(one.where)), *times[:2], f"{one.bytes / 1e6:.1f}", *times[2:]
            )
        report.say(table)
        complain(report, told["problems"])


@app.command("verify")
def verify(
    region: RegionOption = "",
    read_all: Annotated[bool, typer.Option("--all", help="Read every byte, not today's seventh.")] = False,
    as_of: AsOfOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Whether a region has what was stored there: catalogue, chains of the log, and repositories."""
    with reporting("backup verify", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        # A look at what was is no reading back of what is: only the latter is noted, and its age watched.
        words = ["check", "--region", region, *(["--all"] if read_all else [])]
        words += then(as_of) or ["--note"]
        first = asker(loaded)
        with report.progress() as progress:
            progress(f"{first}: reading the catalogue, the log and the bases")
            told = ask(report.paths, first, *words, seconds=LONGEST, tell=progress)
            for name in (h for h in agents(loaded) if h != first):
                progress(f"{name}: reading what it stored")
                own = ask(report.paths, name, *words, "--own", seconds=LONGEST, tell=progress)
                told["repositories"] += own["repositories"]
                told["problems"] += [p for p in own["problems"] if p not in told["problems"]]
        missed = sorted(set(told.pop("elsewhere")) - set(told["repositories"]))
        told["problems"] += [f"repository {name}: nobody could look into it" for name in missed]
        told["problems"] += state_problems(loaded, report.paths, told["region"], as_of)
        report.fields |= {k: v for k, v in told.items() if k != "ok"}
        report.say(
            f"{told['region']}: {told['entries']} entries, {told['segments']} segments,"
            f" {len(told['repositories'])} repositories"
        )
        complain(report, told["problems"])


def then(as_of: str) -> list[str]:
    """As the agent is told when to look at the store."""
    return ["--as-of", as_of] if as_of else []


def complain(report: Report, problems: list[str]) -> None:
    """Say what is wrong; the exit code is 1 then."""
    for problem in problems:
        report.say(f"[red]{problem}[/]")
    report.exit_code = 1 if problems else 0
