"""HL7 v2 messages from a hospital's own host to the collector over MLLP, at a fixed rate.

`python -m runbooks.drills.workloads.hospital HISTORY`, its settings as one JSON object on standard input; run
in the network of the hospital's host. It ends at SIGTERM, or after `seconds`. It sends as a laboratory system
does: one message after the other on one connection, the very same bytes under the same message control id
until the collector acknowledges them (AA), which it does when they are on its disk.
"""

from __future__ import annotations

import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from runbooks.drills.workloads.asking import PATIENCE_SECONDS, Sender, Try
from runbooks.drills.workloads.pacing import carry_out
from runbooks.drills.workloads.results import filler_of, oru

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbooks.drills.evidence.history import Operation

START, END = b"\x0b", b"\x1c\r"
"""Around each message (HL7 v2 Transport Specification, MLLP release 1)."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
"""What the lab's hospital waits after a failure, doubling (`lab_hospital.py`)."""


class Settings(BaseModel):
    """What the program is told. Timeouts in seconds, those of the lab's hospital (`lab_hospital.py`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    port: int
    residents: list[str]
    """Record numbers, one a client: only that client sends their results."""
    run: str
    """Eight characters that make orders and control ids unique over all drills."""
    connect_timeout: float = 2.0
    answer_timeout: float = 10.0
    patience: float = PATIENCE_SECONDS
    clients: int
    rate: float
    seconds: float
    seed: int


class NotSentError(OSError):
    """Nobody took the connection: the message did not leave."""


class Link:
    """One MLLP connection to the collector, opened when needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: socket.socket | None = None
        self._buffer = b""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def send(self, raw: bytes, control_id: str) -> tuple[str, str]:
        """Send one message; MSA-1 and MSA-3 of its acknowledgement.

        An acknowledgement of another message is passed over. Raises NotSentError when there is no connection,
        another OSError when the message may have arrived and nothing says so.
        """
        sock = self._socket or self._opened()
        until = time.monotonic() + self._settings.answer_timeout
        try:
            sock.settimeout(self._settings.answer_timeout)
            sock.sendall(START + raw + END)
            while True:
                code, answered, text = acknowledgement(self._frame(sock, until))
                if answered == control_id:
                    return code, text
        except OSError:
            self.close()
            raise

    def _opened(self) -> socket.socket:
        where = (self._settings.address, self._settings.port)
        try:
            self._socket = socket.create_connection(where, timeout=self._settings.connect_timeout)
        except OSError as error:
            raise NotSentError(*error.args) from error
        return self._socket

    def _frame(self, sock: socket.socket, until: float) -> bytes:
        while END not in self._buffer:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("no acknowledgement in time")
            sock.settimeout(left)
            data = sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed by the collector")
            self._buffer += data
        frame, _, self._buffer = self._buffer.partition(END)
        return frame.partition(START)[2]


def acknowledgement(frame: bytes) -> tuple[str, str, str]:
    """MSA-1, MSA-2 and MSA-3 of an acknowledgement; empty texts when it has no MSA. Pure."""
    lines = frame.decode("utf-8", "replace").split("\r")
    fields = next((line.split("|") for line in lines if line.startswith("MSA|")), [])
    code, answered, text = [*fields[1:4], "", "", ""][:3]
    return code, answered, text


def judged(code: str, text: str) -> Try:
    """What an acknowledgement says about a message. Pure.

    AR: it was not taken for a message. AE: the collector did not take it over; whether a disk that failed
    in the middle holds it all the same, it cannot say.
    """
    if code == "AA":
        return Try("ok")
    return Try("fail" if code == "AR" else "unknown", error=f"{code} {text}".strip()[:200], again=True)


class Client(Sender):
    """One device of the hospital: one connection, one resident whose results only it sends."""

    def __init__(self, settings: Settings, number: int, note: Callable[[Operation], None]) -> None:
        super().__init__(settings, number, note, settings.patience)
        self.settings, self.link = settings, Link(settings)

    def message(self, element: int) -> Callable[[], Sequence[Try]]:
        """Sends one message and reads its acknowledgement."""
        told = self.settings
        raw = oru(told.run, told.residents[self.number], element, datetime.now(UTC))
        control_id = filler_of(told.run, element)
        return lambda: [self._try(raw, control_id)]

    def pause(self, fresh: Sequence[Try], rounds: int) -> float:  # noqa: ARG002  as the base has it
        """Doubling, as a sender does."""
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(rounds - 1, 16))

    def _try(self, raw: bytes, control_id: str) -> Try:
        try:
            return judged(*self.link.send(raw, control_id))
        except NotSentError as error:
            return Try("fail", error=repr(error)[:200], again=True)
        except OSError as error:
            return Try("unknown", error=repr(error)[:200], again=True)


def main() -> int:
    """Entry point."""
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    carry_out(
        Path(sys.argv[1]),
        lambda note: [Client(settings, n, note) for n in range(settings.clients)],
        settings.connect_timeout + settings.answer_timeout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
