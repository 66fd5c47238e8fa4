"""Progress on stderr: a living line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from types import TracebackType

    from rich.status import Status

PLAIN_SECONDS = 5.0
"""Without a terminal at most one line in this time, so that a log stays readable."""


class Progress:
    """Call it with what is being done now. `note` prints a line that stays."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._step = ""
        self._step_started = time.monotonic()
        self._last_plain = 0.0

    def __enter__(self) -> Progress:
        if not self._quiet and self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def begin(self, step: str) -> None:
        """A step begins; later messages belong to it."""
        self._step, self._step_started = step, time.monotonic()
        self._last_plain = 0.0

    def __call__(self, message: str) -> None:
        """Say what is being done now."""
        if self._quiet:
            return
        elapsed = time.monotonic() - self._step_started
        line = f"{self._step} [dim]{elapsed:4.0f} s[/]  {message}" if self._step else message
        if self._status is not None:
            self._status.update(line)
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = time.monotonic()
            self._console.print(line, soft_wrap=True)

    def note(self, message: str) -> None:
        """A line that stays on the screen."""
        if not self._quiet:
            self._console.print(message, soft_wrap=True)
