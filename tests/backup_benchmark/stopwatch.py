"""Takes the time of commands with hyperfine, one run at a time, so that rivals take turns."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEP = Path(__file__).with_name("step.py")
STEP_LINE = re.compile(r"(.+?) \d+%(, .*)?$")
"""How the agent tells its progress."""


class FailedError(Exception):
    """A command that is measured ended with an error: its time says nothing."""


@dataclass(frozen=True)
class Run:
    """One run. Times in seconds; user and system: of the command and what it started, not of servers."""

    seconds: float
    user: float
    system: float
    largest_process_mib: int
    phases: dict[str, float]
    answer: dict[str, Any]


def timed(
    argv: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Run:
    """Run a command once under hyperfine. Raises FailedError with its last words."""
    os.sync()  # what the one before wrote is not this one's to wait for
    with tempfile.TemporaryDirectory() as name:
        note, exported = Path(name) / "note", Path(name) / "times.json"
        line = shlex.join([sys.executable, str(STEP), str(note), *argv])
        watch = ["hyperfine", "--shell=none", "--runs=1", f"--export-json={exported}", line]
        subprocess.run(
            watch, env={**os.environ, **(environment or {})}, cwd=folder, capture_output=True, check=False
        )
        told = json.loads(note.read_text(encoding="utf-8"))
        if told["code"] != 0:
            last = "\n".join(text for _, text in told["lines"][-8:])
            raise FailedError(f"{argv[0]} … {argv[-1]}: {told['code']}\n{told['answer'][:2000]}\n{last}")
        (taken,) = json.loads(exported.read_text(encoding="utf-8"))["results"]
    try:
        answer = dict(json.loads(told["answer"]))
    except ValueError:
        answer = {}
    return Run(
        seconds=round(taken["mean"], 3),
        user=round(taken["user"], 2),
        system=round(taken["system"], 2),
        largest_process_mib=told["largest_process_mib"],
        phases=phases(told["lines"], told["seconds"]),
        answer=answer,
    )


def phases(lines: Sequence[tuple[float, str]], ended: float) -> dict[str, float]:
    """Step → seconds, of a command that tells its steps; from the first one on. Pure."""
    found: dict[str, float] = {}
    step, since = "", 0.0
    for at, text in (*lines, (ended, "ended 100%")):
        told = STEP_LINE.match(text)
        if told is None or told[1] == step:
            continue
        if step:
            found[step] = round(found.get(step, 0.0) + at - since, 3)
        step, since = told[1], at
    return found


def must_be_here() -> None:
    """Say what is missing before anything is begun."""
    missing = [name for name in ("hyperfine", "zstd") if shutil.which(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; apt-get install -y {' '.join(missing)}")
