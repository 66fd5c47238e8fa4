"""`yiyun doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, reporting
from infra.doctor import examine


def doctor(estate: EstateOption = "lab", json_output: JsonOption = False, quiet: QuietOption = False) -> None:
    """Examine this machine: each missing prerequisite, with how to get it. Changes nothing."""
    with reporting("doctor", estate, json_output, quiet) as report:
        findings = examine(report.load(), report.paths)
        report.fields["findings"] = [f.as_json() for f in findings]
        table = Table("", "what", "found", "remedy", box=None)
        for finding in findings:
            mark = "[green]ok[/]" if finding.ok else "[red]missing[/]"
            table.add_row(mark, finding.name, finding.found, "" if finding.ok else finding.remedy)
        report.say(table)
        report.exit_code = 0 if all(f.ok for f in findings) else 1
