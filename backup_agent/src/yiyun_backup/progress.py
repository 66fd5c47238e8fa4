"""How far a long step is: a line on standard error, with the rate where bytes are counted, and time left."""

from __future__ import annotations

import sys
import time
from typing import Protocol

TELL_SECONDS = 1.0
SURE_SECONDS, SURE_SHARE = 2.0, 0.02
"""Before so much has passed, a time left would be a guess."""


class Progress(Protocol):
    """Is told a step, what share of it is done and, where they are counted, how many bytes."""

    def __call__(self, step: str, share: float, done: int = 0) -> None:
        """Called as often as one likes."""


class Lines:
    """Writes a line whenever the step changes, and each second of one that lasts."""

    def __init__(self) -> None:
        self._step, self._began, self._told = "", 0.0, 0.0

    def __call__(self, step: str, share: float, done: int = 0) -> None:
        """Progress, as `Progress` has it."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._began = step, now
        elif now - self._told < TELL_SECONDS:
            return
        self._told = now
        sys.stderr.write(line(step, share, done, now - self._began) + "\n")
        sys.stderr.flush()


def line(step: str, share: float, done: int, seconds: float) -> str:
    """`save 41%, 63.0 MB/s, 12 s left`. Pure."""
    parts = [f"{step} {share:.0%}"]
    if done and seconds >= SURE_SECONDS:
        parts.append(f"{done / seconds / 1e6:.1f} MB/s")
    if seconds >= SURE_SECONDS and SURE_SHARE <= share < 1:
        parts.append(f"{seconds * (1 - share) / share:.0f} s left")
    return ", ".join(parts)
