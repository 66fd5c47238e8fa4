#!/usr/bin/python3
"""Print which MySQL member this host's router sends writes to, as one JSON object.

`writer`: the member in the table the routers share, or, before the first session, the one the next session
would get; null when none is up. `held`: whether the table holds it. `stray`: open sessions by member, of
those up beside it: two are written to. Exit 0 when there is a writer, else 1.
"""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import sys
from typing import Any

SOCKET = "/run/haproxy/admin.sock"
BACKEND = "writer"


def ask(command: str, path: str = SOCKET) -> str:
    """One question to the router's socket. Raises OSError when it does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(3)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def held_writer(table: str) -> str | None:
    """The member named in `show table`: key 1 → server_key."""
    match = re.search(r"^0x\w+: key=1 .*?server_key=(\S+)", table, re.MULTILINE)
    return match.group(1) if match else None


def apart(peers: str) -> list[str]:
    """Routers that `show peers` lists and this one is not connected to."""
    found = re.findall(r" id=(\S+)\(remote,\w+\) .*?last_status=(\w+)", peers)
    return [name for name, status in found if status != "ESTA"]


def members(stat: str) -> list[dict[str, Any]]:
    """Members as `show stat` lists them: name, status, last check, open sessions."""
    rows = csv.DictReader(io.StringIO(stat.lstrip("# ")))
    return [
        {
            "name": row["svname"],
            "up": row["status"].startswith("UP"),
            "status": row["status"],
            "check": row["check_status"],
            "sessions": int(row["scur"] or 0),
        }
        for row in rows
        if row["pxname"] == BACKEND and row["svname"] not in {"BACKEND", "FRONTEND"}
    ]


def strays(found: list[dict[str, Any]], writer: str | None) -> dict[str, int]:
    """Open sessions by member, of those up and not the writer; the router ends a lost one's itself."""
    return {
        member["name"]: member["sessions"]
        for member in found
        if member["up"] and member["sessions"] and member["name"] != writer
    }


def writer_of(table: str, stat: str) -> dict[str, Any]:
    """Who is the writer, from the router's two answers. A held member that is down is no writer."""
    found, held = members(stat), held_writer(table)
    up = [member["name"] for member in found if member["up"]]
    writer = held if held in up else (up[0] if up else None)
    return {
        "writer": writer,
        "held": held is not None and held == writer,
        "members": found,
        "stray": strays(found, writer),
    }


def main() -> int:
    """Entry point."""
    try:
        result = writer_of(ask(f"show table {BACKEND}"), ask(f"show stat {BACKEND} 4 -1"))
        result["apart"] = apart(ask("show peers"))
    except OSError as error:
        print(json.dumps({"writer": None, "error": f"the router does not answer: {error}"}))  # noqa: T201
        return 1
    print(json.dumps(result))  # noqa: T201 - the result
    return 0 if result["writer"] else 1


if __name__ == "__main__":
    sys.exit(main())
