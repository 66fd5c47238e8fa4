"""Running the machine's own programs, with failures a person can act on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from infra.engine.parent import die_with_parent
from infra.errors import YiyunError

Progress: TypeAlias = Callable[[str], None]
"""Told, in a few words, what is being done."""


def run(
    command: Sequence[str], *, stdin: str = "", check: bool = True, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program and capture what it says. It ends with us, so that a killed run leaves nobody at work.

    Raises YiyunError when it fails (and `check`), or hangs.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            preexec_fn=die_with_parent,
        )
    except FileNotFoundError:
        raise YiyunError(
            f"{command[0]} is not installed", hint="yiyun doctor names what is missing"
        ) from None
    except subprocess.TimeoutExpired:
        raise YiyunError(f"{command[0]} did not finish within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        raise YiyunError(
            f"{' '.join(command[:4])} failed: {failure_text(done.stderr or done.stdout)}",
            hint="run the same command again; yiyun doctor checks this machine",
        )
    return done


def follow(
    command: Sequence[str], on_line: Callable[[str], None], *, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program, calling `on_line` with each line it says; the result's stdout holds them all.

    The caller judges the exit code. It ends with us, as in `run`.
    """
    said: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            on_line(line)
    return subprocess.CompletedProcess(command, process.returncode, "".join(said), "")


def failure_text(output: str) -> str:
    """The last lines of a program's output that say something, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing"
