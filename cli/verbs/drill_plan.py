"""`yiyun drill soak`, `compare`, `schedule`: many drills in a row, side by side, and when each is due."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli.contract import (
    SCOPES,
    EstateOption,
    JsonOption,
    QuietOption,
    Report,
    YesOption,
    confirm,
    reporting,
)
from cli.verbs.look import must_be_deployed
from infra.engine.lock import estate_lock
from infra.errors import RefusedError
from runbooks.drills.catalogue import find_drill, shipped
from runbooks.drills.comparison import Figures, beside, read_sources, summarised
from runbooks.drills.provenance import commit, machine, versions
from runbooks.drills.ran import Ran, ran
from runbooks.drills.schedule import calendar, schedule
from runbooks.drills.side_by_side import drawn
from runbooks.drills.soak import SEEDS, Limits, Result, gone_on_with, read_result, soak
from runbooks.drills.soak_lab import LabHands
from runbooks.drills.svg import write_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.estate.model import Estate

OVERDUE = 2
NOT_ALL_PASSED = 1


def add_to(app: typer.Typer) -> None:
    """Add these commands to `yiyun drill`."""
    app.command("soak")(soak_drills)
    app.command("compare")(compare)
    app.command("schedule")(show_schedule)


def soak_drills(
    count: Annotated[int, typer.Option(help="How many drills in all.", min=1, max=10000)],
    seed: Annotated[
        int | None, typer.Option(help="What everything is drawn from; printed. Default: the file's, or new.")
    ] = None,
    drills: Annotated[
        str, typer.Option(help="Names or files with commas between; default: every shipped drill.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The result file; one of the same soak is gone on with.")] = Path(
        "drill-soak.json"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="Begin no drill after so many minutes.", min=0)
    ] = None,
    stop_on_failure: Annotated[
        bool, typer.Option("--stop-on-failure", help="Stop at the first drill that failed.")
    ] = False,
    estate: EstateOption = "lab",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run many drills in random order, each as often as the others. Exit 1 unless all were run and passed."""
    with reporting("drill soak", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        if loaded.provider != "lab":
            raise RefusedError("drills run in a lab so far", hint="yiyun drill soak --estate lab")
        result = _wanted(loaded, count, seed, drills, out)
        confirm(
            report, f"Run {count} drills on {loaded.estate} (seed {result.seed})?", yes=yes, destroys=True
        )
        report.say(f"seed {result.seed}; {len(result.runs)} of {count} are in {out}")
        with report.progress() as progress, estate_lock(report.paths, "drill soak", progress):
            if not result.versions:
                result = result.model_copy(update={"versions": versions(loaded, report.paths)})
            hands = LabHands(loaded, report.paths, out, progress)
            limits = Limits(minutes, stop_on_failure)
            result = soak(result, hands, limits, _as_json)
        report.fields |= {"file": str(out)} | result.model_dump(mode="json", exclude={"format", "command"})
        report.fields["estate"] = loaded.estate
        _show_soak(report, result)
        done = len(result.runs) == count and all(r.verdict == "passed" for r in result.runs)
        report.exit_code = 0 if done else NOT_ALL_PASSED


def compare(
    sources: Annotated[
        list[Path], typer.Argument(help="Result files of `drill soak`, or folders of evidence.")
    ],
    picture: Annotated[Path | None, typer.Option(help="Also draw them, as SVG.")] = None,
    language: Annotated[str, typer.Option(help="Of the picture: zh or en.")] = "zh",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Drills of the same name side by side: recovery times, what was lost, stale reads."""
    with reporting("drill compare", estate, json_output, quiet) as report:
        report.load()
        read = read_sources(sources)
        found = beside(read)
        report.fields |= {
            "sources": list(read),
            "drills": [
                {
                    "drill": name,
                    "figures": [
                        {"source": source} | figures.as_json() for source, figures in of.items() if figures
                    ],
                }
                for name, of in found.items()
            ],
        }
        if picture is not None:
            report.fields["picture"] = write_svg(picture, drawn(read, language))
        for name, of in found.items():
            table = figures_table("source", title=name)
            for source, figures in of.items():
                table.add_row(source, *_cells(figures))
            report.say(table)


def show_schedule(
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 2 when a drill is overdue.")] = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """When each drill is due, from its last run that passed. A drill that never passed is overdue."""
    with reporting("drill schedule", estate, json_output, quiet) as report:
        report.load()
        due = schedule(shipped(), ran(report.paths), calendar(), datetime.now(UTC))
        report.fields |= {"drills": [d.as_json() for d in due], "overdue": sum(d.overdue for d in due)}
        table = Table("drill", "every", "last passed", "next due", "", box=None)
        for one in due:
            passed = f"{one.last_passed:%Y-%m-%d}" if one.last_passed else "never"
            wanted = f"{one.next_due:%Y-%m-%d}" if one.next_due else "now"
            late = f" {one.overdue_days} days" if one.overdue_days else ""
            word = f"[red]overdue[/]{late}" if one.overdue else ""
            table.add_row(one.drill, f"{one.interval.every_days} days", passed, wanted, word)
        report.say(table)
        for source in dict.fromkeys(d.interval.source for d in due):
            report.say(f"[dim]{source}[/]")
        if exit_code and report.fields["overdue"]:
            report.exit_code = OVERDUE


FIGURES = ("passed", "RTO p50", "p99", "max s", "lost", "stale", "unknown", "failed requests")
"""Each word may stand on a line of its own; no figure is ever cut off."""


def figures_table(first: str, *more: str, title: str = "") -> Table:
    """A table whose first column and figures are never cut off, however narrow the terminal is."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    table.padding = (0, 1, 0, 0)
    table.add_column(first, no_wrap=True)
    for name in (*FIGURES, *more):
        table.add_column(name, justify="right", min_width=max(map(len, name.split())))
    return table


def _cells(figures: Figures | None) -> list[str]:
    if figures is None:
        return ["-", *[""] * (len(FIGURES) - 1)]
    times = (figures.rto_p50_s, figures.rto_p99_s, figures.rto_max_s)
    counts = (figures.lost, figures.stale_reads, figures.indeterminate, figures.failed_requests)
    return [
        f"{figures.passed}/{figures.runs}",
        *("-" if t is None else f"{t:.2f}" for t in times),
        *(str(c) for c in counts),
    ]


def _as_json(runs: Sequence[Ran]) -> dict[str, dict[str, Any]]:
    return {name: figures.as_json() for name, figures in summarised(runs).items()}


def _wanted(estate: Estate, count: int, seed: int | None, drills: str, out: Path) -> Result:
    """The soak that was asked for, or what its file has of it. Raises BadInputError."""
    names = [word.strip() for word in drills.split(",") if word.strip()] or list(shipped())
    for name in names:
        find_drill(name)
    known = read_result(out).seed if seed is None and out.exists() else seed
    chosen = random.SystemRandom().randrange(SEEDS) if known is None else known
    fresh = Result(
        command=f"yiyun drill soak --count {count} --seed {chosen} --drills {','.join(names)}",
        estate=estate.estate,
        scope=SCOPES.get(estate.provider, "contract"),
        seed=chosen,
        count=count,
        drills=names,
        began=datetime.now(UTC),
        commit=commit(),
        machine=machine(),
        versions={},
    )
    return gone_on_with(out, fresh)


def _show_soak(report: Report, result: Result) -> None:
    table = figures_table("drill", "failed, void, aborted")
    for name, figures in summarised(result.runs).items():
        table.add_row(name, *_cells(figures), f"{figures.failed}, {figures.void}, {figures.aborted}")
    report.say(table)
    if result.stopped:
        report.say(f"[red]stopped[/]: {result.stopped}")
