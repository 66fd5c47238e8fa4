"""`yiyun up`, `preview`, `destroy`: what changes an estate, and what would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, YesOption, confirm, reporting
from cli.steps import steps_of
from infra.drift.survey import Survey
from infra.drivers.lab.realise import realise
from infra.engine.lock import estate_lock
from infra.engine.stack import Engine
from infra.errors import BadInputError, RefusedError
from infra.steps.converging import FOUND
from infra.steps.model import Context, Selection, Step, StepResult, StepsFailedError, run_steps
from infra.steps.proving import PROOF
from infra.trust.material import Material
from runbooks.drills.blast import NEWEST, blast_radius
from runbooks.drills.catalogue import shipped
from runbooks.drills.model import Drill
from runbooks.drills.ran import ran

if TYPE_CHECKING:
    from cli.progress import Progress
    from infra.engine.changes import Preview
    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.blast import Blast

CHANGES_PENDING = 2


def up(
    estate: EstateOption = "lab",
    start: Annotated[str, typer.Option("--from", help="Start at this step.")] = "",
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this step; repeatable.")] = None,
    list_steps: Annotated[bool, typer.Option("--list-steps", help="List the steps and stop.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Run every role and every check, also where nothing differs.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="Take over this hand-made change (as `drift` names it); repeatable."),
    ] = None,
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """From nothing, or from wherever it was interrupted, to a verified estate."""
    with reporting("up", estate, json_output, quiet) as report:
        loaded = report.load()
        steps = steps_of(loaded)
        if list_steps:
            listed = [{**StepResult(s.name, "skipped").as_json(), "purpose": s.purpose} for s in steps]
            report.fields |= {"steps": listed, "changed": 0}
            for step in steps:
                report.say(f"{step.name:16} {step.purpose}")
            return
        selection = Selection(start, tuple(only or ()))
        selection.chooses(steps)
        bring_up(report, loaded, selection, yes=yes, full=full, keep=frozenset(keep or ()))


def bring_up(
    report: Report,
    estate: Estate,
    selection: Selection,
    *,
    yes: bool,
    full: bool = False,
    keep: frozenset[str] = frozenset(),
) -> None:
    """Run the steps of `up` under the estate's lock and put them into the report."""
    paths = report.paths.ensure()
    with report.progress() as progress, estate_lock(paths, report.command, progress):
        _refuse_unasked_destruction(report, estate, paths, progress, yes=yes)
        context = Context(estate, report.source, paths, progress, full=full, keep=keep)
        try:
            results = run_steps(steps_of(estate), context, selection, lambda item: _announce(progress, item))
        except StepsFailedError as error:
            _put_steps(report, error.results)
            raise
    _put_steps(report, results)
    _put_findings(report, context)
    report.say(f"{estate.estate} is up: {report.fields['changed']} changes")


def preview(
    estate: EstateOption = "lab",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 2 when something would change.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, for a reviewer.")] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """What `up` would change in the infrastructure. Changes nothing and adopts nothing."""
    with reporting("preview", estate, json_output, quiet) as report:
        loaded = report.load()
        with report.progress() as progress:
            plan = _preview(loaded, report.paths.ensure(), progress)
            blasts = _blast_radius(loaded, report.paths, plan)
        report.fields |= {
            "changes": [c.as_json() for c in plan.changes],
            "protected": list(plan.protected),
            "blast_radius": [b.as_json() for b in blasts],
        }
        if markdown:
            report.say(plan.as_markdown())
        else:
            _show_changes(report, plan)
        for blast in blasts:
            report.say(f"- {blast}" if markdown else f"interrupts: {blast}")
        if exit_code and plan.changes:
            report.exit_code = CHANGES_PENDING


def destroy(
    estate: EstateOption = "lab",
    include: Annotated[
        list[str] | None,
        typer.Option("--include", help="Also remove this protected resource (logical name); repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed and kept.")] = False,
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove the estate's resources. Disks, buckets and addresses stay unless named with --include."""
    with reporting("destroy", estate, json_output, quiet) as report:
        loaded = report.load()
        paths = report.paths
        if not paths.pulumi.exists():
            raise BadInputError(f"{loaded.estate} was never brought up here", hint="yiyun up")
        with report.progress() as progress, estate_lock(paths, "destroy", progress):
            engine = _engine(loaded, paths, progress)
            plan = engine.plan_destroy(tuple(include or ()))
            report.fields |= {
                "changes": [c.as_json() for c in plan.changes],
                "protected": list(plan.protected),
                "dry_run": dry_run,
            }
            _show_changes(report, plan)
            if dry_run:
                return
            confirm(
                report, f"Remove {len(plan.changes)} resources of {loaded.estate}?", yes=yes, destroys=True
            )
            engine.destroy(tuple(include or ()))
            if loaded.provider == "lab":
                realise(paths, progress)
        kept = ", ".join(plan.protected) or "nothing"
        report.say(f"removed {len(plan.changes)} resources; kept: {kept}")


def _engine(estate: Estate, paths: EstatePaths, progress: Progress) -> Engine:
    return Engine(estate, paths, progress, authorized_key=Material(estate, paths).operator_key())


def _preview(estate: Estate, paths: EstatePaths, progress: Progress) -> Preview:
    return _engine(estate, paths, progress).preview()


def _blast_radius(estate: Estate, paths: EstatePaths, plan: Preview) -> list[Blast]:
    """What the plan would interrupt; the drills' evidence is read only when there is something to change."""
    if not plan.changes:
        return []
    breaking = {name: drill for name, drill in shipped().items() if isinstance(drill, Drill)}
    return blast_radius(plan.changes, estate, breaking, ran(paths, NEWEST), datetime.now(UTC))


def _refuse_unasked_destruction(
    report: Report, estate: Estate, paths: EstatePaths, progress: Progress, *, yes: bool
) -> None:
    if yes or not paths.pulumi.exists() or _engine(estate, paths, progress).is_settled():
        return
    lost = [c for c in _preview(estate, paths, progress).changes if c.action in {"delete", "replace"}]
    if lost:
        names = ", ".join(c.resource for c in lost)
        confirm(report, f"This deletes or replaces {names}.", yes=yes, destroys=True)
    if paths.journal.exists() and any(c.kind in {"Disk", "Bucket"} for c in lost):
        raise RefusedError("data would be lost", hint="remove it by name first: yiyun destroy --include NAME")


def _announce(progress: Progress, item: Step | StepResult) -> None:
    if isinstance(item, Step):
        progress.begin(item.name)
        progress(item.purpose)
        return
    mark = "[green]done[/]" if item.status == "done" else "[dim]unchanged[/]"
    progress.note(f"{mark:22} {item.name:16} {item.seconds:6.1f} s  {item.changed or ''}")


def _put_steps(report: Report, results: list[StepResult]) -> None:
    report.fields["steps"] = [r.as_json() for r in results]
    report.fields["changed"] = sum(r.changed for r in results)


def _put_findings(report: Report, context: Context) -> None:
    """What was found on the hosts: taken away or put back without a role, and left for a person."""
    proof, found = context.results.get(PROOF), context.results.get(FOUND)
    if isinstance(proof, dict):
        report.fields["proof"] = proof
        if not proof["whole"]:
            report.say(
                f"nothing differs since everything was checked at {proof['at']}; --full checks it again"
            )
    if not isinstance(found, Survey):
        return
    left = found.left
    report.fields |= {"mended": found.mended, "left": [d.resource for d in left]}
    for item in found.mended:
        mark = "[yellow]mended[/]" if item["ok"] else "[red]not mended[/]"
        report.say(f"{mark} {item['host']}: {item['what']}: {item['said']}")
    for difference in left:
        report.say(f"[red]left[/] {difference.resource} is not as recorded: see yiyun drift")


def _show_changes(report: Report, plan: Preview) -> None:
    if not plan.changes:
        report.say("nothing to change")
    table = Table("action", "resource", "property", "actual", "declared", box=None)
    for change in plan.changes:
        rows: list[Any] = list(change.properties) or [None]
        for index, entry in enumerate(rows):
            head = (change.action, change.resource) if index == 0 else ("", "")
            cells = ("", "", "") if entry is None else (entry.name, str(entry.actual), str(entry.declared))
            table.add_row(*head, *cells)
    if plan.changes:
        report.say(table)
    for name in plan.protected:
        report.say(f"protected: {name} stays")
