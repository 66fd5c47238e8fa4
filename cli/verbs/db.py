"""`yiyun db`: look at the database, switch its writer, replace a member, upgrade, recover."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, YesOption, confirm, reporting
from cli.verbs.look import must_be_deployed
from infra.engine.lock import estate_lock
from runbooks.database.ground import Tier, hands
from runbooks.database.picture import Picture, gaps_in, problems, transactions_in
from runbooks.database.planning import check_switch, plan_replace, plan_switch, upgrade_order
from runbooks.database.recovering import prepare, recover
from runbooks.database.repairing import repair
from runbooks.database.replacing import check_room, machines, replace
from runbooks.database.switching import BUSY_SECONDS, switch
from runbooks.database.upgrading import check_versions, upgrade, versions_on

app = typer.Typer(help="The database: members, writer, upgrades, recovery.", no_args_is_help=True)
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing, say what would be done.")]


@app.command("status")
def status(
    repair_left: Annotated[
        bool,
        typer.Option(
            "--repair", help="Put back what an interrupted switch left, and lead all routers to one writer."
        ),
    ] = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Members, the writer as each router sees it, what each lacks, and whether a switch would be safe."""
    with reporting("db status", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with report.progress() as progress, hands(loaded, report.paths) as opened:
            progress("asking members and routers")
            undone: list[str] = []
            if repair_left:
                with estate_lock(report.paths, "db status --repair", progress):
                    undone = repair(opened)
            picture = opened.look()
        report.fields |= fields_of(picture) | {"repaired": undone}
        _show(report, picture)
        report.exit_code = 1 if report.fields["problems"] else 0


@app.command("switch")
def switch_writer(
    to: Annotated[
        str | None, typer.Option("--to", help="The new writer; else the first that may be.")
    ] = None,
    dry_run: DryRunOption = False,
    estate: EstateOption = "lab",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Move the writer under load: new transactions wait for a moment, none fails. Else nothing is changed."""
    with reporting("db switch", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with (
            report.progress() as progress,
            estate_lock(report.paths, "db switch", progress),
            hands(loaded, report.paths) as opened,
        ):
            repair(opened)
            plan = plan_switch(opened.look(), to)
            report.fields |= {"from": plan.old, "to": plan.to, "dry_run": dry_run}
            if dry_run:
                report.fields |= {"pause_s": None, "tries": 0, "steps": []}
                report.say(
                    f"would hold new transactions, wait up to {BUSY_SECONDS} s for those that are open,"
                    f" and move the writer from {plan.old} to {plan.to}"
                )
                return
            confirm(report, f"Move the writer from {plan.old} to {plan.to}?", yes=yes, destroys=False)
            done = switch(plan, opened, progress)
        report.fields |= {
            "pause_s": round(done.pause, 3),
            "tries": done.tries,
            "steps": [{"step": step, "at_s": at} for step, at in done.steps],
        }
        report.say(f"{done.to} is the writer; new transactions waited {done.pause * 1000:.0f} ms")


@app.command("replace")
def replace_member(
    member: Annotated[str, typer.Argument(help="The member whose data are made anew.")],
    dry_run: DryRunOption = False,
    lose_its_own: Annotated[
        bool, typer.Option("--lose-its-own", help="Give up transactions that no other member holds.")
    ] = False,
    discard_first: Annotated[
        bool, typer.Option("--discard-first", help="Where both do not fit: remove its data before the copy.")
    ] = False,
    limit: Annotated[float, typer.Option("--limit", help="Seconds for the copy.", min=60)] = 14400,
    estate: EstateOption = "lab",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Rebuild a member's data by a copy (CLONE) of another's. Never of the writer."""
    with reporting("db replace", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with (
            report.progress() as progress,
            estate_lock(report.paths, "db replace", progress),
            hands(loaded, report.paths) as opened,
            machines(report.paths, opened.tier.members) as on,
        ):
            progress("asking members and routers")
            plan = plan_replace(opened.look(), member, lose_its_own=lose_its_own)
            size, free = check_room(plan, on, keep=not discard_first)
            report.fields |= {"member": plan.member, "donors": list(plan.donors), "gives_up": plan.own}
            report.fields |= {"bytes": size, "free_bytes": free, "dry_run": dry_run, "cloned": None}
            if dry_run:
                report.say(
                    f"would copy {size >> 20} MiB from one of {', '.join(plan.donors)} to {plan.member}"
                )
                return
            question = f"Replace the data of {plan.member} by a copy of another member's?"
            confirm(report, question, yes=yes, destroys=True)
            report.fields |= replace(
                plan, loaded.estate, on, opened, progress, keep=not discard_first, limit=limit
            )
        how = "by CLONE" if report.fields["cloned"] else "from the others' logs"
        report.say(f"{member} was rebuilt {how}; it was away for {report.fields['away_s']} s")


@app.command("upgrade")
def upgrade_members(
    dry_run: DryRunOption = False,
    estate: EstateOption = "lab",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Newest minor version on every member, one after the other; without a newer one, a rolling restart."""
    with reporting("db upgrade", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        with (
            report.progress() as progress,
            estate_lock(report.paths, "db upgrade", progress),
            hands(loaded, report.paths) as opened,
            machines(report.paths, opened.tier.members) as on,
        ):
            progress("asking members and routers")
            order = upgrade_order(opened.look())
            versions = versions_on(on, order)
            newer = check_versions(versions)
            what = "upgrade" if newer else "restart (the package source has no newer server)"
            report.fields |= {
                "order": list(order),
                "restart_only": not newer,
                "versions": {name: asdict(v) for name, v in versions.items()},
                "members": [],
                "switch_pause_s": None,
                "dry_run": dry_run,
            }
            if dry_run:
                report.say(f"would {what} {', '.join(order)}, in this order, the writer last after a switch")
                return
            confirm(report, f"{what.capitalize()} {', '.join(order)} one by one?", yes=yes, destroys=False)
            done = upgrade(on, opened, progress)
        report.fields |= {"members": done.members, "switch_pause_s": done.switch_pause}
        for entry in done.members:
            report.say(f"{entry['name']}: {entry['before']} → {entry['after']}, {entry['seconds']} s")
        report.say("a rolling restart: no newer server" if done.restart_only else "every member is upgraded")


@app.command("recover")
def recover_group(
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A member that is gone for good; may be repeated.")
    ] = None,
    estate: EstateOption = "lab",
    yes: YesOption = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Form the group again on the member with the most transactions, or force it onto who is left."""
    with reporting("db recover", estate, json_output, quiet) as report:
        loaded = report.load()
        must_be_deployed(report)
        tier = Tier.of(loaded)
        with (
            report.progress() as progress,
            estate_lock(report.paths, "db recover", progress),
            hands(loaded, report.paths) as opened,
            machines(report.paths, (*tier.members, *tier.routers)) as on,
        ):
            plan = prepare(loaded, opened, on, without or [], progress)
            report.fields |= {"lost": list(plan.lost), "could_lose": list(plan.could_lose)}
            report.fields |= {"through": plan.judge, "steps": [], "members": {}, "changed": False}
            for sentence in plan.could_lose:
                progress.note(sentence)
            if not plan.harmless:
                question = f"Give up {', '.join(plan.lost)} and go on without?"
                confirm(report, question, yes=yes, destroys=True)
            progress(f"the group forms, through {plan.judge}")
            report.fields |= recover(plan, report.paths)
        states = "  ".join(f"{name} {state}" for name, state in report.fields["members"].items())
        report.say(f"{'done' if report.fields['changed'] else 'nothing to do'}: {states}")


def fields_of(picture: Picture) -> dict[str, Any]:
    """The picture as the JSON contract has it."""
    return {
        "writer": picture.writer,
        "mode": "single-primary" if picture.single_primary else "multi-primary, one writer",
        "members": [
            {
                "name": m.name,
                "state": m.state,
                "version": m.version,
                "ready": m.ready,
                "reasons": list(m.reasons) if m.answers else [m.problem],
                "view": dict(m.view),
                "executed": m.executed,
                "transactions": transactions_in(m.executed),
                "gaps": gaps_in(m.executed),
                "missing": m.missing,
                "missing_transactions": transactions_in(m.missing),
                "only_here": m.only,
                "queue": m.apply_queue + m.certify_queue,
                "conflicts": m.conflicts,
                "busy": [asdict(b) for b in m.busy],
            }
            for m in picture.members
        ],
        "routers": [
            {
                "name": r.name,
                "writer": r.writer,
                "members": dict(r.status),
                "sessions": dict(r.sessions),
                "not_connected_to": list(r.apart),
                "left_in_maintenance": list(r.left),
                "gate_closed_s": round(r.gate_closed_s, 3),
            }
            for r in picture.routers
        ],
        "switch": check_switch(picture),
        "problems": list(problems(picture)),
    }


def _show(report: Report, picture: Picture) -> None:
    table = Table("member", "state", "may write", "transactions", "lacks", "queue", "conflicts", box=None)
    for m in picture.members:
        counts = (transactions_in(m.executed), transactions_in(m.missing), m.apply_queue + m.certify_queue)
        cells = (m.name, m.state, "yes" if m.ready else "no", *map(str, counts), str(m.conflicts))
        table.add_row(*cells)
    report.say(table)
    for r in picture.routers:
        seen = "  ".join(f"{name} {state}" for name, state in r.status.items())
        report.say(f"router {r.name}: writer {r.writer or '[red]none[/]'}   {seen}")
    for line in report.fields["repaired"]:
        report.say(f"put back: {line}")
    for line in report.fields["problems"]:
        report.say(f"[red]problem[/] {line}")
    now = report.fields["switch"]
    report.say(f"switch: safe now, to {now['to']}" if now["safe"] else f"switch: not now: {now['reason']}")
