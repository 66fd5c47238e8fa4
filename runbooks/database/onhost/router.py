"""On an app host: its gate and its router, for a planned switch.

Whatever happens to the one who asks: at the end of the input, or when the gate's time is over, servers put in
maintenance are made ready again, sessions on any member but the writer are ended, and the gate opens.
"""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

from runbooks.database.onhost.gate import FOLDER, Gate, boot_ns
from runbooks.database.onhost.lines import serve

ADMIN = "/run/haproxy/admin.sock"
DOOR = ("127.0.0.1", 3306)
BACKEND = "writer"
NOTE = "turning.json"
"""What is in maintenance because of a switch: any later process can put it back."""
MARGIN_SECONDS = 0.4
"""No server is put in maintenance under a gate that opens sooner."""
TURN_SECONDS = 0.5
END_SECONDS = 0.05
POLL_SECONDS = 0.003


class NotDoneError(Exception):
    """What was asked could not be done; the text says why."""


def ask_router(command: str, path: str = ADMIN) -> str:
    """One question to the router's socket. Raises OSError when it does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def held_writer(table: str) -> str | None:
    """The member named in `show table`: key 1 → server_key."""
    match = re.search(r"^0x\w+: key=1 .*?server_key=(\S+)", table, re.MULTILINE)
    return match.group(1) if match else None


def apart_of(peers: str) -> list[str]:
    """Routers that `show peers` lists and this one is not connected to."""
    found = re.findall(r" id=(\S+)\(remote,\w+\) .*?last_status=(\w+)", peers)
    return [name for name, status in found if status != "ESTA"]


def members_of(stat: str) -> list[dict[str, Any]]:
    """Members as `show stat` lists them: name, status, last check, open sessions."""
    rows = csv.DictReader(io.StringIO(stat.lstrip("# ")))
    return [
        {
            "name": row["svname"],
            "up": row["status"].startswith("UP"),
            "maintenance": row["status"].startswith("MAINT"),
            "status": row["status"],
            "check": row["check_status"],
            "sessions": int(row["scur"] or 0),
        }
        for row in rows
        if row["pxname"] == BACKEND and row["svname"] not in {"BACKEND", "FRONTEND"}
    ]


class Router:
    """Router and gate of the host this runs on."""

    def __init__(self, admin: str = ADMIN, gate: Gate | None = None, door: tuple[str, int] = DOOR) -> None:
        self._admin, self._door = admin, door
        self._gate = gate or Gate(FOLDER)
        self._closed = False
        """Whether this process closed the gate and has not opened it."""
        self._turned = False
        """Whether this process has led sessions to another member since."""

    @property
    def handlers(self) -> dict[str, Any]:
        """What can be asked."""
        names = ("look", "close", "turn", "held", "open", "back")
        return {name: getattr(self, name) for name in names}

    def look(self) -> dict[str, Any]:
        """The writer this router holds, its members, its gate, and what a switch left."""
        members = members_of(self._ask(f"show stat {BACKEND} 4 -1"))
        held = self._held()
        up = [m["name"] for m in members if m["up"]]
        return {
            "writer": held if held in up else (up[0] if up else None),
            "held": held,
            "members": members,
            "apart": apart_of(self._ask("show peers")),
            "left": self._noted(),
            "gate_closed_s": self._gate.state().closed_for(boot_ns()),
        }

    def close(self, closed_s: float, limit: float) -> dict[str, Any]:
        """Close the gate for `closed_s` seconds, and wait up to `limit` seconds until nobody is inside."""
        began = time.monotonic()
        self._closed = True
        self._gate.close(closed_s)
        empty = self._gate.wait_empty(limit)
        return {"empty": empty, "seconds": time.monotonic() - began}

    def turn(self, to: str, *, elected: bool = False) -> dict[str, Any]:
        """Lead new sessions to one member, and end all others. Only under a closed gate.

        `elected`: the group has just made it its primary; the router need not wait for its own checks.
        """
        self._must_be_closed()
        others = [m for m in members_of(self._ask(f"show stat {BACKEND} 4 -1")) if m["name"] != to]
        self._note(to, [m["name"] for m in others if not m["maintenance"]])
        commands = [f"set server {BACKEND}/{m['name']} state maint" for m in others if not m["maintenance"]]
        if elected:
            commands.append(f"set server {BACKEND}/{to} health up")
        self._tell(commands)
        self._turned = True
        began = time.monotonic()
        while not (self._knock() and self._held() == to):
            self._must_be_closed()
            if time.monotonic() - began > TURN_SECONDS:
                raise NotDoneError(f"the router does not lead to {to}: it holds {self._held()}")
            time.sleep(POLL_SECONDS)
        return {"held": to, "left_s": self._wait_ended(to)}

    def _wait_ended(self, to: str) -> float:
        """Seconds until sessions on all others had ended; those whose client has gone already may stay."""
        began = time.monotonic()
        while any(m["sessions"] for m in self._members() if m["name"] != to):
            if time.monotonic() - began > END_SECONDS:
                break
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def held(self) -> dict[str, Any]:
        """The member in the table the routers share."""
        return {"held": self._held()}

    def open(self, *, discard: bool) -> dict[str, Any]:
        """Make all members ready again and open the gate. `discard`: to new connections only."""
        self._make_ready()
        self._gate.open(discard=discard)
        self._closed = False
        return {}

    def back(self) -> dict[str, Any]:
        """Undo what any switch left here. Returns what that was, in words."""
        said = [f"{name} was in maintenance" for name in (self._noted() or {}).get("put", [])]
        held = self._held()
        stray = [m["name"] for m in self._members() if held and m["name"] != held and m["sessions"]]
        self._make_ready()
        self._tell([f"shutdown sessions server {BACKEND}/{name}" for name in stray])
        if self._gate.state().closed_for(boot_ns()):
            said.append("the gate was closed")
        if said or stray or self._closed:
            self._gate.open(discard=bool(stray))
        self._closed = False
        return {"undone": said + [f"sessions were left on {name}" for name in stray]}

    def tick(self) -> None:
        """Undo when the gate's time is over and nobody has opened it."""
        if self._closed and not self._gate.state().closed_for(boot_ns()):
            self.back()

    def ended(self) -> None:
        """Undo when nobody asks any more."""
        if self._closed:
            self.back()

    def _must_be_closed(self) -> None:
        left = self._gate.state().closed_for(boot_ns())
        if left < MARGIN_SECONDS:
            raise NotDoneError(f"the gate opens in {left:.2f} s: too soon to move sessions")

    def _make_ready(self) -> None:
        put = (self._noted() or {}).get("put", [])
        self._tell([f"set server {BACKEND}/{name} state ready" for name in put])
        if self._turned and self._held():
            # Told to the other routers once more: the first time may have been lost with whoever asked.
            self._tell([f"set table {BACKEND} key 1"])
        self._turned = False
        (self._gate.folder / NOTE).unlink(missing_ok=True)

    def _note(self, to: str, put: list[str]) -> None:
        before = (self._noted() or {}).get("put", [])
        text = json.dumps({"to": to, "put": sorted({*before, *put} - {to})})
        self._tell([f"set server {BACKEND}/{to} state ready"] if to in before else [])
        (self._gate.folder / NOTE).write_text(text, encoding="ascii")

    def _noted(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self._gate.folder / NOTE).read_text(encoding="ascii")))
        except (OSError, ValueError):
            return None

    def _knock(self) -> bool:
        """One session through the router, as far as the greeting: the table then holds its member."""
        try:
            with socket.create_connection(self._door, timeout=0.3) as session:
                return bool(session.recv(5))
        except OSError:
            return False

    def _held(self) -> str | None:
        return held_writer(self._ask(f"show table {BACKEND}"))

    def _members(self) -> list[dict[str, Any]]:
        return members_of(self._ask(f"show stat {BACKEND} 4 -1"))

    def _ask(self, command: str) -> str:
        return ask_router(command, self._admin)

    def _tell(self, commands: list[str]) -> None:
        """Commands that answer nothing when they are done. Raises NotDoneError with the router's words."""
        said = self._ask("; ".join(commands)).strip() if commands else ""
        if said:
            raise NotDoneError(f"the router said: {' '.join(said.split())}")


def main(admin: str = ADMIN, gate: str = str(FOLDER), address: str = DOOR[0], port: int = DOOR[1]) -> None:
    """Serve requests until standard input ends; then undo."""
    router = Router(admin, Gate(Path(gate)), (address, port))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: _stop())
    try:
        serve(router.handlers, router.tick)
    finally:
        router.ended()


def _stop() -> None:
    raise SystemExit(1)
