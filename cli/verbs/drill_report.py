"""`yiyun drill report` and `verify`: what a drill proved, on paper, and whether it can be believed."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, reporting
from infra.engine.lock import estate_lock
from infra.errors import BadInputError
from infra.trust.operator_key import given_key, key_text, parse_key
from runbooks.drills.folder import folders
from runbooks.drills.journal import named
from runbooks.drills.reports.chain import Head
from runbooks.drills.reports.envelope import fingerprint, unseal
from runbooks.drills.reports.publish import KEY, publish
from runbooks.drills.reports.stamp import ask
from runbooks.drills.reports.verify import verify

if TYPE_CHECKING:
    from cli.contract import Report
    from runbooks.drills.folder import Folder

NEWEST = "newest"
TimestampOption = Annotated[
    str, typer.Option("--timestamp", help="URL of an authority (RFC 3161) that stamps the report's hash.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `yiyun drill`."""
    app.command("report")(make_report)
    app.command("verify")(verify_reports)


def make_report(
    evidence: Annotated[
        str, typer.Argument(help="A drill's folder by its name or the beginning of it; default: the newest.")
    ] = NEWEST,
    to: Annotated[Path | None, typer.Option(help="Also copy report and evidence into this folder.")] = None,
    timestamp: TimestampOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """The signed report of a drill, with pages and PDFs in Chinese and English. Made where it is missing."""
    with reporting("drill report", estate, json_output, quiet) as report:
        report.load()
        folder = _folder_named(report, evidence)
        if to is not None and (to / folder.path.name).exists():
            raise BadInputError(f"{to / folder.path.name} is there already", hint="another --to")
        with report.progress() as progress, estate_lock(report.paths, report.command, progress):
            progress("writing the report")
            published = publish(folder, report.paths, KEY.private())
            stamped(report, folder, timestamp)
            if to is not None:
                shutil.copytree(folder.path, to / folder.path.name)
        report.fields |= published_fields(folder, published)
        report.fields["copy"] = str(to / folder.path.name) if to is not None else None
        say_published(report, folder, published)


def verify_reports(
    files: Annotated[
        list[Path], typer.Argument(help="report.json, pages, a drill's folder, or one of many.")
    ],
    key: Annotated[
        str, typer.Option(help="The issuer's public key or its file; default: this machine's own.")
    ] = "",
    head: Annotated[
        str, typer.Option(help="NUMBER:SHA256 of the newest report, as you noted it: a cut end is seen.")
    ] = "",
    tsa_root: Annotated[
        list[Path] | None, typer.Option(help="Root certificate (PEM) of a time stamp authority you trust.")
    ] = None,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check reports with nothing but the files and a public key. Exit 1 at the first that is not believed.

    Signature, form, pages, evidence beside them by hash, the verdict computed again, and the chain.
    """
    with reporting("drill verify", estate, json_output, quiet) as report:
        anchored = _head(head)
        if not key and not KEY.file().exists():
            raise BadInputError("whose reports?", hint="--key ed25519:..., as its issuer told you")
        public = parse_key(given_key(key)) if key else KEY.private().public_key()
        found = verify(files, public, anchored, tsa_root or ())
        report.fields |= {
            "key": key_text(public),
            "fingerprint": fingerprint(public),
            "reports": [c.as_json() for c in found.files],
            "head": f"{found.head.seq}:{found.head.digest}" if found.head else None,
        }
        table = Table("file", "no.", "drill", "verdict", "evidence", box=None)
        for entry in report.fields["reports"]:
            table.add_row(*(str(entry[k]) for k in ("file", "seq", "drill", "verdict", "evidence")))
        report.say(table)
        chain = f"chain whole up to {report.fields['head']}" if found.head else "the chain was not checked"
        report.say(f"believed: signed by {key_text(public)}; {chain}")


def stamped(report: Report, folder: Folder, authority: str) -> None:
    """Get a time stamp when an authority is named. Raises YiyunError when it gives none: the report stays."""
    stamp = ask(folder.report, authority) if authority else None
    report.fields["stamped"] = stamp.at.isoformat() if stamp else None


def published_fields(folder: Folder, published: tuple[Head, list[str]]) -> dict[str, Any]:
    """The fields of a published report in the JSON contract."""
    head, troubles = published
    key = KEY.private().public_key()
    document = unseal(folder.report.read_bytes(), key).report
    return {
        "report": str(folder.report),
        "pages": sorted(str(p) for p in folder.path.glob("report.*.*")),
        "troubles": troubles,
        "head": f"{head.seq}:{head.digest}",
        "key": key_text(key),
        "timeline": _timeline(folder, document["timeline"]),
    }


def say_published(report: Report, folder: Folder, published: tuple[Head, list[str]]) -> None:
    """Where the report is, and what to note elsewhere."""
    head, troubles = published
    for trouble in troubles:
        report.say(f"  not made: {trouble}")
    report.say(f"report:   {folder.report} and pages beside it")
    report.say(
        f"chain:    {head.seq}:{head.digest} (note it elsewhere: a chain whose end is cut looks whole)"
    )
    report.say(f"key:      {key_text(KEY.private().public_key())}")


def _timeline(folder: Folder, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    faults = named(folder.evidence().events, "fault")
    begun = datetime.fromisoformat(faults[0].at) if faults else None
    return [
        {
            "at": (begun + timedelta(seconds=row["t"])).isoformat(timespec="milliseconds"),
            "event": row["kind"],
            "source": row["source"],
            "text": row["text"],
            "seconds": row["t"],
        }
        for row in rows
        if begun is not None
    ]


def _folder_named(report: Report, word: str) -> Folder:
    kept = [f for f in folders(report.paths) if f.drill.exists()]
    found = kept[-1:] if word == NEWEST else [f for f in kept if f.path.name.startswith(word)]
    if len(found) != 1:
        what = "no drill was run here" if not kept else f"{len(found)} drills begin with {word}"
        raise BadInputError(what, hint="yiyun drill history names them")
    return found[0]


def _head(text: str) -> Head | None:
    if not text:
        return None
    number, _, digest = text.partition(":")
    if not number.isdigit() or len(digest) != 64:
        raise BadInputError(f"{text} is no head", hint="NUMBER:SHA256, as `drill run` printed it")
    return Head(int(number), digest)
