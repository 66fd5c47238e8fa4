"""yiyun: infrastructure as code and hybrid-cloud operations for a county medical consortium."""

from __future__ import annotations

import json
import sys

import typer
from rich.console import Console
from typer.exceptions import Abort, TyperException

from cli.verbs import (
    backup,
    backup_keep,
    backup_restore,
    bundle,
    db,
    doctor,
    drift,
    drill,
    drill_plan,
    drill_report,
    estate_file,
    host,
    lab,
    look,
    monitor,
    provision,
    recover,
    secrets,
)

USAGE_EXIT = 4
"""A wrong command line is bad input; Typer alone would exit 2, which here means `changes pending`."""

app = typer.Typer(
    name="yiyun",
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(provision.up)
app.command("preview")(provision.preview)
app.command("drift")(drift.drift)
app.command("destroy")(provision.destroy)
app.command("recover")(recover.recover)
app.command("verify")(look.verify)
app.command("status")(look.status)
app.command("why")(look.why)
app.command("ssh", context_settings={"ignore_unknown_options": True})(look.ssh)
app.command("logs")(look.logs)
app.command("init")(estate_file.init)
app.command("doctor")(doctor.doctor)
app.add_typer(lab.app, name="lab")
backup_keep.add_to(backup.app)
backup_restore.add_to(backup.app)
app.add_typer(backup.app, name="backup")
app.add_typer(bundle.app, name="bundle")
drill_plan.add_to(drill.app)
drill_report.add_to(drill.app)
app.add_typer(db.app, name="db")
app.add_typer(drill.app, name="drill")
app.add_typer(host.app, name="host")
app.add_typer(monitor.app, name="monitor")
app.add_typer(secrets.app, name="secrets")


def run() -> None:
    """Entry of the console script: the contract's exit codes hold for usage errors too."""
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        if not error.format_message():  # no verb at all: Typer has shown the help
            sys.exit(0)
        _usage(error)
        sys.exit(USAGE_EXIT)
    except Abort:
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: TyperException) -> None:
    if "--json" not in sys.argv:
        hint = "yiyun --help lists the verbs; every verb has --help"
        Console(stderr=True, highlight=False).print(
            f"[bold red]error:[/] {error.format_message()}\n    {hint}"
        )
        return
    command = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
    problem = {
        "code": "usage",
        "message": error.format_message(),
        "hint": "see --help",
        "where": "command line",
    }
    result = {"command": command, "estate": "", "scope": "contract", "ok": False, "error": problem}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    run()
