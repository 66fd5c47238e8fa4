"""`yiyun bundle`: one folder that brings the estate up where no registry answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.contract import EstateOption, JsonOption, QuietOption, Report, reporting
from infra.bundle.offline.build import build_folder, default_folder
from infra.bundle.offline.held import held
from infra.bundle.offline.model import read_lock
from infra.bundle.offline.use import opened, use_folder
from infra.bundle.offline.verify import verify_folder

if TYPE_CHECKING:
    from infra.bundle.offline.model import OfflineLock

app = typer.Typer(help="One folder that installs the estate with no registry.", no_args_is_help=True)

KeyOption = Annotated[
    str, typer.Option("--key", help="The builder's public key (ed25519:BASE64), or a file that holds it.")
]
FolderArgument = Annotated[Path, typer.Argument(help="The folder, or the .tar made of it.")]


@app.command("build")
def bundle_build(
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to make (default: in the cache, by the estate's name)."),
    ] = None,
    tar: Annotated[bool, typer.Option("--tar", help="Write FOLDER.tar as well.")] = False,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put packages, wheels, images and programs into one signed folder, fetching what is not cached."""
    with reporting("bundle build", estate, json_output, quiet) as report:
        loaded = report.load()
        target = (to or default_folder(loaded)).absolute()
        with report.progress() as progress:
            made = build_folder(loaded, target, progress, archive=tar)
        _describe(report, made.path, made.lock)
        report.fields |= {"key": made.lock.signer, "archive": str(made.archive or "")}
        report.say(f"signed by {made.lock.signer}; tell it by another way than the folder's own")
        report.say(f"there: {made.path}/control/install {made.lock.signer}")


@app.command("verify")
def bundle_verify(
    folder: FolderArgument,
    key: KeyOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Hold a folder to its signature and every file to its SHA-256. Exit 3: not signed by whom you trust."""
    with reporting("bundle verify", estate, json_output, quiet) as report:
        report.load()
        with report.progress() as progress, opened(folder, progress) as place:
            verified = verify_folder(place, key, progress)
        _describe(report, folder, verified.lock)
        report.fields |= {"key": verified.key, "problems": list(verified.problems)}
        report.say(f"signed by {verified.key}")
        for problem in verified.problems:
            report.say(f"[red]refused[/] {problem}")
        report.exit_code = 1 if verified.problems else 0


@app.command("use")
def bundle_use(
    folder: FolderArgument,
    key: KeyOption = "",
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Verify a folder, then take it over: the next `yiyun up` needs no registry. A --key is trusted on."""
    with reporting("bundle use", estate, json_output, quiet) as report:
        loaded = report.load()
        with report.progress() as progress:
            verified, imported = use_folder(folder, key, progress)
        _describe(report, folder, verified.lock)
        lacking = [h.name for h in held(loaded) if not h.here]
        report.fields |= {"key": verified.key, "imported": imported, "lacking": lacking}
        report.say(f"imported: {', '.join(imported) or 'nothing, all of it was here'}")
        for name in lacking:
            report.say(f"[yellow]not in it[/]: {name}, which {loaded.estate} needs")


@app.command("list")
def bundle_list(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder or .tar; without it: what this machine's caches hold.")
    ] = None,
    estate: EstateOption = "lab",
    json_output: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List a folder's parts and packages (unverified), or what `up` would still have to fetch here."""
    with reporting("bundle list", estate, json_output, quiet) as report:
        loaded = report.load()
        if folder is None:
            _list_held(report)
            return
        with report.progress() as progress, opened(folder, progress) as place:
            lock = read_lock(place)
        _describe(report, folder, lock)
        packages = [f for f in lock.files if f.package]
        report.fields["packages"] = [
            {"name": f.package, "version": f.version, "path": f.path, "sha256": f.sha256} for f in packages
        ]
        report.say(f"{len(packages)} packages; --json lists them. {loaded.estate} takes what its roles need")


def _list_held(report: Report) -> None:
    if report.estate is None:
        return
    found = held(report.estate)
    report.fields["parts"] = [h.as_json() for h in found]
    table = Table("kind", "name", "version", "", box=None)
    for item in found:
        table.add_row(item.kind, item.name, item.version, "here" if item.here else "[yellow]to be fetched[/]")
    report.say(table)


def _describe(report: Report, folder: Path, lock: OfflineLock) -> None:
    report.fields |= {
        "folder": str(folder),
        "made": lock.made,
        "yiyun": lock.yiyun,
        "bytes": lock.bytes,
        "files": len(lock.files),
        "parts": [{"kind": p.kind, "name": p.name, "version": p.version, "here": True} for p in lock.parts],
    }
    report.say(f"{folder}: yiyun {lock.yiyun}, {lock.made}, {len(lock.files)} files, {lock.bytes >> 20} MiB")
    table = Table("kind", "name", "version", box=None)
    for part in lock.parts:
        table.add_row(part.kind, part.name, part.version or part.key)
    report.say(table)
