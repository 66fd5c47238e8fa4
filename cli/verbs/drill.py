"""`yiyun drill`: rehearse a fault under load, prove what it cost, undo it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, YesOption, confirm, reporting
from cli.verbs.drill_report import TimestampOption, published_fields, say_published, stamped
from cli.verbs.look import must_be_deployed
from infra.engine.lock import estate_lock
from infra.errors import BadInputError, RefusedError
from infra.rotation.recovery import Kit, read_kit
from runbooks.drills.about import People, whoever_runs_this
from runbooks.drills.catalogue import AnyDrill, as_text, find_drill, shipped
from runbooks.drills.conduct import conduct, resume, summary
from runbooks.drills.folder import folders
from runbooks.drills.model import Drill
from runbooks.drills.ran import ran
from runbooks.drills.rehearsal import Loss, Rehearsal
from runbooks.drills.reports.publish import KEY, publish
from runbooks.drills.svg import write_svg
from runbooks.drills.trends import drawn
from runbooks.recovery.drill import clear_standing, rehearse
from runbooks.recovery.loss import lose

NOT_PASSED = 1

app = typer.Typer(help="Drills: a fault, a live workload, a verdict from evidence.", no_args_is_help=True)
DrillArgument = Annotated[str, typer.Argument(help="A shipped drill's name, or a file ending in .yaml.")]


@app.command("list")
def list_drills(
    estate: EstateOption = "lab", json_output: JsonOption = False, quiet: QuietOption = False
) -> None:
    """The shipped drills: what each breaks and what it promises."""
    with reporting("drill list", estate, json_output, quiet) as report:
        report.load()
        found = [
            {
                "name": d.name,
                "title": d.title.en,
                "rto_s": d.objectives.rto_s,
                "rpo_s": d.objectives.rpo_s,
                "procedure": d.procedure,
            }
            for d in shipped().values()
        ]
        report.fields["drills"] = found
        table = Table("drill", "what is broken", "RTO s", "RPO s", box=None)
        for entry in found:
            table.add_row(*(str(entry[k]) for k in ("name", "title", "rto_s", "rpo_s")))
        report.say(table)


@app.command("show")
def show_drill(
    drill: DrillArgument,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """A drill as it would be run: hypothesis, method, objectives, and what its runs here showed."""
    with reporting("drill show", estate, json_output, quiet) as report:
        report.load()
        wanted = find_drill(drill)
        runs = [r for r in ran(report.paths) if r.drill == wanted.name]
        report.fields |= {
            "drill": wanted.model_dump(mode="json"),
            "runs": len(runs),
            "last": runs[-1].model_dump(mode="json") if runs else None,
        }
        report.say(as_text(wanted))
        last = f"last {runs[-1].verdict}, RTO {runs[-1].rto_s} s, {runs[-1].at:%Y-%m-%d}" if runs else ""
        report.say(f"{len(runs)} runs on this estate{'; ' + last if last else ''}")


@app.command("run")
def run(
    drill: DrillArgument,
    estate: EstateOption = "lab",
    seed: Annotated[int | None, typer.Option(help="What the workload is drawn from; printed.")] = None,
    operator: Annotated[str, typer.Option(help="Who runs it, for the report; default: you.")] = "",
    approver: Annotated[str, typer.Option(help="Who allowed it, for the report.")] = "",
    observer: Annotated[str, typer.Option(help="Who watches, for the report.")] = "",
    kit: Annotated[
        Path | None, typer.Option(help="Of a rehearsal: the recovery kit (secrets export-recovery).")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="File with the kit's passphrase.")
    ] = None,
    timestamp: TimestampOption = "",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Break it under load, undo it, and say what it cost. Exit 1 unless the verdict is `passed`."""
    with reporting("drill run", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        wanted = find_drill(drill)
        if loaded.provider != "lab":
            raise RefusedError(
                "drills run in a lab so far",
                hint="yiyun drill run --estate lab; not verified against the vendor",
            )
        opened = _kit(wanted, kit, passphrase_file)
        confirm(report, f"Run {wanted.name} on {loaded.estate}: {wanted.title.en}?", yes=yes, destroys=True)
        chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
        people = People(operator or whoever_runs_this(), approver, observer)
        with report.progress() as progress, estate_lock(report.paths, "drill run", progress):
            if isinstance(wanted, Rehearsal):
                folder, verdict = rehearse(wanted, loaded, report.paths, chosen, people, progress, opened)
            elif isinstance(wanted, Loss):
                folder, verdict = lose(
                    wanted, loaded, report.paths, report.source, chosen, people, progress, opened
                )
            else:
                folder, verdict = conduct(wanted, loaded, report.paths, chosen, people, progress)
            progress("writing the report")
            published = publish(folder, report.paths, KEY.private())
            stamped(report, folder, timestamp)
        report.fields |= {"drill": wanted.name, "seed": chosen, "evidence": str(folder.path)} | summary(
            verdict
        )
        report.fields |= published_fields(folder, published)
        _say(report, wanted.name, report.fields)
        say_published(report, folder, published)
        report.exit_code = 0 if verdict.word == "passed" else NOT_PASSED


@app.command("resume")
def resume_drills(
    estate: EstateOption = "lab", json_output: JsonOption = False, quiet: QuietOption = False
) -> None:
    """Undo what a drill left whose controller died. Fine when there is nothing."""
    with reporting("drill resume", estate, json_output, quiet) as report:
        loaded = report.load()
        with report.progress() as progress, estate_lock(report.paths, "drill resume", progress):
            undone = resume(loaded, report.paths, progress) + clear_standing(loaded, progress)
        report.fields["undone"] = undone
        report.say("\n".join(f"undone: {line}" for line in undone) or "nothing to undo")


@app.command("history")
def history(
    picture: Annotated[
        Path | None, typer.Option(help="Also write recovery times over the runs as SVG.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the picture: zh or en.")] = "zh",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Every drill that was run here, its verdict computed anew from its evidence."""
    with reporting("drill history", estate, json_output, quiet) as report:
        report.load()
        kept = [f for f in folders(report.paths) if f.drill.exists() and f.journal.exists()]
        found = [{"evidence": f.path.name} | summary(f.verdict()) for f in kept]
        report.fields["drills"] = found
        if picture is not None:
            report.fields["picture"] = write_svg(picture, drawn(ran(report.paths), language))
        table = Table("drill", "verdict", "RTO s", "acknowledged", "lost", "stale", box=None)
        for entry in found:
            cells = (
                entry[k] for k in ("evidence", "verdict", "rto_s", "acknowledged", "lost", "stale_reads")
            )
            table.add_row(*map(str, cells))
        report.say(table)


def _kit(wanted: AnyDrill, file: Path | None, passphrase_file: Path | None) -> Kit | None:
    """The recovery kit that was given, opened. Raises BadInputError for one that the drill does not need."""
    if file is None:
        return None
    if isinstance(wanted, Drill):
        raise BadInputError(f"{wanted.name} needs no kit", hint="leave --kit out")
    if passphrase_file is None:
        raise BadInputError("the kit's passphrase is missing", hint="--passphrase-file FILE")
    return read_kit(file, passphrase=passphrase_file.read_text(encoding="utf-8").splitlines()[0])


def _say(report: Any, name: str, fields: dict[str, Any]) -> None:
    rto = "-" if fields["rto_s"] is None else f"{fields['rto_s']:.2f} s"
    report.say(
        f"{name}: {fields['verdict']}; RTO {rto}, {fields['acknowledged']} writes acknowledged, "
        f"{fields['lost']} lost, {fields['indeterminate']} indeterminate, {fields['stale_reads']} stale reads"
    )
    for reason in fields["reasons"]:
        report.say(f"  {reason}")
    report.say(f"evidence: {fields['evidence']}")
