"""Two witnesses of a workload that owe nothing to the agent: what clients were told, and the server's log.

A client learns the GTID of its own commit from the server's answer (`session_track_gtids`; layout: MySQL's
Reference of the protocol, "OK_Packet"). The order of the log, and its times, are read by `mysqlbinlog`.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymysql.constants import CLIENT
from server_kit import Transfers, program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STATE_CHANGED = 1 << 14
"""Flag of an answer that says what changed in the session."""
TRACKED_GTIDS = 3
_TIME = re.compile(r"\boriginal_committed_timestamp=(\d+)")
_GTID = re.compile(r"^SET @@SESSION\.GTID_NEXT= *'([0-9a-f-]{36}:\d+)'")


@dataclass(frozen=True)
class Acknowledged:
    """A transfer that its client was told is committed. Times: seconds since 1970, around the commit."""

    gtid: str
    move: int
    source: int
    target: int
    began: float
    ended: float


@dataclass(frozen=True)
class Logged:
    """A transaction as the log has it. `committed_us`: microseconds since 1970."""

    gtid: str
    committed_us: int


@dataclass
class Journaled(Transfers):
    """Transfers whose clients write down what was acknowledged, and under which GTID."""

    acknowledged: list[Acknowledged] = field(default_factory=list)

    def connect(self) -> Any:
        """A connection whose answers tell what changed."""
        connection = self.server.connect(client_flag=CLIENT.SESSION_TRACK)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION session_track_gtids = OWN_GTID")
        return connection

    def committed(self, cursor: Any, move: tuple[int, int, int], span: tuple[float, float]) -> None:
        super().committed(cursor, move, span)
        answer = cursor._result  # pymysql has no other name for the last answer
        gtid = gtid_of(answer.message) if answer.server_status & STATE_CHANGED else ""
        assert gtid, "a commit without a GTID"
        self.acknowledged.append(Acknowledged(gtid, *move, *span))


def gtid_of(message: bytes) -> str:
    """The GTID in what follows the numbers of an answer; empty when there is none. Pure."""
    at, size = _length(message, 0)
    at, _ = _length(message, at + size)  # the length of all that changed
    while at < len(message):
        kind = message[at]
        at, size = _length(message, at + 1)
        if kind == TRACKED_GTIDS:
            start, length = _length(message, at + 1)  # one byte before it tells the encoding
            return message[start : start + length].decode("ascii")
        at += size
    return ""


def _length(message: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer: where what follows begins, and its value."""
    first = message[at]
    if first < 251:
        return at + 1, first
    width = {252: 2, 253: 3, 254: 8}[first]
    return at + 1 + width, int.from_bytes(message[at + 1 : at + 1 + width], "little")


def read_log(folder: Path) -> list[Logged]:
    """The log of a server's folder of data, in its order."""
    files = sorted(path for path in folder.glob("binlog.*") if path.suffix[1:].isdecimal())
    argv = [program("BINLOG"), "--no-defaults", "--base64-output=DECODE-ROWS", *map(str, files)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as reading:
        found = list(logged(reading.stdout or ()))
    assert reading.returncode == 0, "mysqlbinlog failed"
    return found


def logged(lines: Iterable[str]) -> Iterator[Logged]:
    """The transactions in what `mysqlbinlog` prints. Pure."""
    committed = 0
    for line in lines:
        if time := _TIME.search(line):
            committed = int(time[1])
        elif gtid := _GTID.match(line):
            yield Logged(gtid[1], committed)
