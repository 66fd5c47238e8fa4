"""The command contract: one JSON object on stdout, progress on stderr, exit codes, no tracebacks."""

from __future__ import annotations

import json
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.progress import Progress
from infra.errors import BadInputError, EstateError, RefusedError, YiyunError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths, state_root

if TYPE_CHECKING:
    from collections.abc import Generator

    from infra.estate.model import Estate

EstateOption = Annotated[
    str, typer.Option("--estate", "-e", envvar="YIYUN_ESTATE", help="A shipped estate's name, or a file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with yes.")]

SCOPES = {"lab": "lab", "jdcloud": "contract"}
"""Provider → how far a result can be believed; `contract`: verified against published definitions only."""


@dataclass
class Report:
    """What a verb says in the end, to a person or to a machine."""

    command: str
    source: str
    as_json: bool
    quiet: bool
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    exit_code: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    estate: Estate | None = None
    console: Console = field(default_factory=lambda: Console(highlight=False))

    def load(self) -> Estate:
        """The estate that was named, validated. Raises EstateError or BadInputError."""
        self.estate = load_estate(self.source)
        return self.estate

    @property
    def paths(self) -> EstatePaths:
        """Where the loaded estate keeps its state."""
        if self.estate is None:
            raise BadInputError("no estate was loaded")
        return EstatePaths(self.estate.estate)

    def say(self, text: Any = "") -> None:
        """Print a result for a person; silent in JSON mode."""
        if not self.as_json:
            self.console.print(text)

    def progress(self) -> Progress:
        """Progress on stderr, silent with `--quiet`."""
        return Progress(quiet=self.quiet)

    def finish(self, error: YiyunError | None = None) -> None:
        """Print the JSON object, or the error for a person."""
        if error is not None:
            self.exit_code = error.exit_code
        if self.as_json:
            sys.stdout.write(json.dumps(self._object(error), ensure_ascii=False, default=str) + "\n")
        elif error is not None:
            _print_error(error)

    def _object(self, error: YiyunError | None) -> dict[str, Any]:
        provider = self.estate.provider if self.estate else ""
        result: dict[str, Any] = {
            "command": self.command,
            "estate": self.estate.estate if self.estate else self.source,
            "scope": SCOPES.get(provider, "contract"),
            "ok": error is None and self.exit_code in {0, 2},
            "started": self.started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "seconds": round(time.monotonic() - self.clock, 2),
            **self.fields,
        }
        if error is not None:
            result["error"] = error.as_json()
        return result


@contextmanager
def reporting(command: str, source: str, as_json: bool, quiet: bool = False) -> Generator[Report]:
    """Run a verb's body; whatever happens becomes one report and one exit code."""
    report = Report(command, source, as_json, quiet)
    try:
        yield report
    except YiyunError as error:
        report.finish(error)
    except (KeyboardInterrupt, BrokenPipeError):
        report.finish(YiyunError("interrupted", hint=f"run yiyun {command} again: it goes on by itself"))
    except Exception:  # noqa: BLE001  the last line of defence: a person gets a sentence, the trace goes to a file
        report.finish(_unexpected(command))
    else:
        report.finish()
    raise typer.Exit(report.exit_code)


def confirm(report: Report, question: str, *, yes: bool, destroys: bool) -> None:
    """Ask on a terminal. Without one and without `--yes`, what destroys is refused (exit 3)."""
    if yes:
        return
    if sys.stdin.isatty() and not report.as_json:
        if typer.confirm(question, err=True):
            return
        raise RefusedError("not confirmed: nothing was changed")
    if destroys:
        raise RefusedError(f"{question} Not without --yes.", hint="add --yes when you mean it")


def _print_error(error: YiyunError) -> None:
    console = Console(stderr=True, highlight=False)
    if isinstance(error, EstateError):
        for problem in error.problems:
            console.print(
                f"[bold red]{problem.where}[/]: {problem.message}\n    {problem.hint}", soft_wrap=True
            )
        return
    where = f"{error.where}: " if error.where and error.where not in error.message else ""
    console.print(f"[bold red]error:[/] {where}{error.message}", soft_wrap=True)
    if error.hint:
        console.print(f"    {error.hint}", soft_wrap=True)


def _unexpected(command: str) -> YiyunError:
    path = state_root() / "yiyun-error.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{datetime.now(UTC).isoformat()} yiyun {command}\n{traceback.format_exc()}\n")
    kind = sys.exc_info()[0]
    name = kind.__name__ if kind else "error"
    return YiyunError(f"unexpected {name}; this is a defect of yiyun", hint=f"the trace is in {path}")
