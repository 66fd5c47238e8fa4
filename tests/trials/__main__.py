"""`python -m tests.trials moments|kills|damage`: exit code 1 when anything was not as it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tests.trials.record import ensure_programs

RESULTS = Path("docs/results")
app = typer.Typer(add_completion=False, no_args_is_help=True)
Seed = Annotated[int, typer.Option(help="What is drawn is drawn from this.")]
Count = Annotated[int, typer.Option(help="How many.", min=1)]
Out = Annotated[Path, typer.Option(help="The result file.")]


@app.command()
def moments(seed: Seed, count: Count = 20, out: Out = RESULTS / "restore-moments.json") -> None:
    """Restore moments of a running workload of transfers from the far region alone."""
    ensure_programs()
    from tests.trials import moments as trial

    raise typer.Exit(0 if trial.run(seed, out, count) else 1)


@app.command()
def kills(seed: Seed, count: Count = 30, out: Out = RESULTS / "backup-kills.json") -> None:
    """Kill the agent's runs; the next one must complete alone. Goes on with a result file of its seed."""
    ensure_programs()
    from tests.trials import kills as trial

    raise typer.Exit(0 if trial.run(seed, out, count) else 1)


@app.command()
def damage(out: Out = RESULTS / "backup-damage.json") -> None:
    """Play the table of damage on copies of a region. Writes a table in Markdown beside the result."""
    ensure_programs()
    from tests.trials import damage as trial

    raise typer.Exit(0 if trial.run(out) else 1)


if __name__ == "__main__":
    app()
