"""A workload program of a drill, begun and ended as a drill does, here without a network of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).parents[2]


def begin(module: str, settings: BaseModel, history: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(history)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(settings.model_dump_json())
    process.stdin.close()
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
