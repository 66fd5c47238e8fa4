"""A workload program that never runs: what it was told is looked at."""

from __future__ import annotations

import io
from typing import Any


class Process:
    """A program that says `ready`."""

    def __init__(self, argv: list[str], **_: Any) -> None:
        self.argv, self.stdin, self.said = argv, self, ""
        self.stdout, self.stderr = io.StringIO("ready\n"), io.StringIO("")

    def write(self, text: str) -> None:
        self.said += text

    def close(self) -> None: ...
