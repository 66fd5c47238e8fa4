#!/usr/bin/python3
"""Keep sessions off every MySQL member but the writer that the routers' shared table holds.

A router that loses its edge to the writer moves the table. New sessions of the others follow it, but sessions
they have open on the old writer, which they still see UP, would stay there for as long as a pool keeps them.
Looks every `PERIOD_SECONDS`; what it ended is one line of the journal.

Once a second it tells the other routers again what this one holds, for otherwise they are told only when a
session comes: one lost word would leave two routers with two writers for as long as pools keep sessions.

It does nothing while the table's member is not UP from here: two routers with different cut edges would end
each other's sessions by turns. Nor during a planned switch, which ends them itself (docs/guides/database.md).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yiyun_db_writer import BACKEND, SOCKET, ask, held_writer, members, strays

if TYPE_CHECKING:
    from collections.abc import Mapping

GATE = "/run/yiyun-db-gate/gate.json"
PERIOD_SECONDS = 0.25
LONGEST_CLOSED_NS = 2_000_000_000
"""No gate is closed for longer; a file that says so is damaged, and the gate open."""
TELL_LOOKS = 4
"""After so many looks in a row that found the same writer, the other routers are told again."""
SILENT_LOOKS = 20
"""Looks without an answer before it says so: a router that restarts is no news."""


@dataclass(frozen=True)
class Look:
    """What one look found. `writer`: the table's member; None when nothing may be done."""

    writer: str | None = None
    stray: Mapping[str, int] = field(default_factory=dict[str, int])
    """Other members that are UP → their open sessions."""
    end: frozenset[str] = frozenset()
    """Those whose sessions are to be ended now."""


def look(table: str, stat: str, *, gate_closed: bool, before: Look) -> Look:
    """Judge the router's two answers, the gate, and the look before. Pure.

    Two looks in a row must agree on the writer: a table that has just moved may be moving still, and a lost
    member's sessions end by the router's own checks.
    """
    found, writer = members(stat), held_writer(table)
    switching = gate_closed or any(member["status"].startswith("MAINT") for member in found)
    if switching or writer not in {member["name"] for member in found if member["up"]}:
        return Look()
    stray = strays(found, writer)
    again = before.stray.keys() & stray.keys() if before.writer == writer else ()
    return Look(writer, stray, frozenset(again))


def is_closed(gate: str, now_ns: int) -> bool:
    """Whether a gate file's content closes it at that moment of CLOCK_BOOTTIME; what is damaged does not."""
    try:
        return 0 < int(json.loads(gate)["until_ns"]) - now_ns <= LONGEST_CLOSED_NS
    except (ValueError, TypeError, KeyError):
        return False


def lines(now: Look, before: Look) -> list[str]:
    """What to say of a look: each member once, however many looks its sessions take to go."""
    return [
        f"{now.stray[name]} session(s) on {name} are ended: the routers hold {now.writer}"
        for name in sorted(now.end - before.end)
    ]


class Keeper:
    """The keeper of one router."""

    def __init__(self, path: str = SOCKET, gate: str = GATE) -> None:
        self._path, self._gate = path, Path(gate)
        self._before = Look()
        self._silent = self._same = 0

    def step(self) -> list[str]:
        """Look once and do what is to be done. Returns what there is to say."""
        try:
            now = look(
                self._answer(f"show table {BACKEND}"),
                self._answer(f"show stat {BACKEND} 4 -1"),
                gate_closed=self._gate_closed(),  # last: a switch may have begun meanwhile
                before=self._before,
            )
            said = [self._end(name) for name in sorted(now.end)]
            said += self._tell_again(now)
        except OSError as error:
            self._before, self._same = Look(), 0
            self._silent += 1
            return [f"the router does not answer: {error}"] if self._silent == SILENT_LOOKS else []
        told = lines(now, self._before)
        self._before, self._silent = now, 0
        return told + [f"the router said: {text}" for text in said if text and told]

    def _tell_again(self, now: Look) -> list[str]:
        """A command on the table's entry that changes nothing is sent to the others as a change is."""
        is_same = now.writer is not None and now.writer == self._before.writer
        self._same = self._same + 1 if is_same else 0
        if self._same < TELL_LOOKS:
            return []
        self._same = 0
        return [ask(f"set table {BACKEND} key 1", self._path).strip()]

    def _end(self, member: str) -> str:
        """What the router has to say against it; nothing when it is done."""
        return ask(f"shutdown sessions server {BACKEND}/{member}", self._path).strip()

    def _answer(self, question: str) -> str:
        answer = ask(question, self._path)
        if not answer.endswith("\n\n"):
            raise ConnectionError(f"half an answer to {question!r}")
        return answer

    def _gate_closed(self) -> bool:
        try:
            text = self._gate.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return False
        return is_closed(text, time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def main(path: str = SOCKET, gate: str = GATE) -> None:
    """Look until stopped."""
    keeper = Keeper(path, gate)
    while True:
        for line in keeper.step():
            print(line, flush=True)  # noqa: T201  the journal's
        time.sleep(PERIOD_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
