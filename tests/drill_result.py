"""A drill's report as a result file: what was done, what it cost, with what it was got.

`python -m tests.drill_result EVIDENCE --out docs/results/NAME.json`: of a drill's folder, whose report is
verified with the key of this machine first.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from runbooks.drills.folder import Folder
from runbooks.drills.provenance import machine
from runbooks.drills.reports.publish import KEY
from runbooks.drills.reports.verify import verify

TAKEN = ("id", "started", "workload", "objectives", "result", "deviations", "timeline", "rehearsal")
"""Of a report."""


def main(
    evidence: Annotated[Path, typer.Argument(help="The drill's folder.")],
    out: Annotated[Path, typer.Option(help="The result file.")],
) -> None:
    """Verify and write."""
    key = KEY.private().public_key()
    (checked, *_) = verify([evidence], key).files
    report = checked.opened.report
    loads = [e.fields for e in Folder(evidence).events() if e.name in {"source", "kit", "lost-things"}]
    found = {
        "command": f"yiyun drill run {report['drill']['name']} --kit KIT --passphrase-file FILE",
        "date": report["started"],
        "commit": report["estate"]["versions"]["commit"],
        "machine": machine(),
        "versions": report["estate"]["versions"],
        "seed": report["drill"]["seed"],
        "evidence": checked.evidence,
        **{name: report[name] for name in TAKEN if name in report},
        "of_what": [{k: v for k, v in fields.items() if k != "residents"} for fields in loads],
    }
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    typer.echo(f"{report['result']['verdict']}, RTO {report['result']['rto_s']} s; {out}")


if __name__ == "__main__":
    typer.run(main)
