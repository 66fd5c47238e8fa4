"""`yiyun drift`: what is not as declared, in the cloud, on the hosts and in monitoring."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import monitoring
from cli.contract import EstateOption, JsonOption, QuietOption, Report, reporting
from infra.drift.cloud import CloudDrift
from infra.drift.hosts import HostDrift
from infra.drift.sources import Found, Look, Source, look_everywhere
from infra.errors import BadInputError

if TYPE_CHECKING:
    from infra.engine.changes import Change

CHANGES_PENDING = 2


class MonitoringDrift:
    """What Zabbix should hold and does not."""

    name = "monitoring"

    def find(self, look: Look) -> Found:
        """What `yiyun monitor apply` would change. Raises YiyunError when Zabbix does not answer."""
        changes = monitoring.drift(look.estate, look.paths, look.progress)
        return Found(tuple(replace(c, remedy="yiyun monitor apply") for c in changes))


SOURCES: tuple[Source, ...] = (CloudDrift(), HostDrift(), MonitoringDrift())
"""Where to look."""
WIDTH = 40
"""Characters of a value that a person is shown."""


def drift(
    estate: EstateOption = "lab",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 2 when something is not as declared.")
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """What is not as declared: the property, both values, and what puts it right. Changes nothing."""
    with reporting("drift", estate, json_output, quiet) as report:
        loaded = report.load()
        if not report.paths.ssh_config.exists():
            raise BadInputError(f"{loaded.estate} was never brought up here", hint="yiyun up")
        with report.progress() as progress:
            found = look_everywhere(SOURCES, Look(loaded, report.paths, progress))
        report.fields |= {
            "changes": [c.as_json() for c in found.changes],
            "protected": list(found.protected),
            "sources": found.seconds,
        }
        _show(report, found.changes)
        if exit_code and found.changes:
            report.exit_code = CHANGES_PENDING


def _show(report: Report, changes: tuple[Change, ...]) -> None:
    if not changes:
        report.say("everything is as declared")
        return
    table = Table("source", "resource", "property", "declared", "actual", box=None)
    for change in changes:
        rows = [(p.name, _short(p.declared), _short(p.actual)) for p in change.properties]
        if change.action == "delete":
            rows = [("", "[dim]nothing[/]", "there")]
        for index, row in enumerate(rows or [("", "there", "[dim]nothing[/]")]):
            table.add_row(*((change.source, change.resource) if index == 0 else ("", "")), *row)
    report.say(table)
    for remedy in dict.fromkeys(c.remedy for c in changes if c.remedy):
        report.say(f"  → {remedy}")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
