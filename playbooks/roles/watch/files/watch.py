#!/usr/bin/python3
"""Notice on the premises when the cloud's monitoring itself is silent.

Asks the Zabbix server over the line for its own statistics; a heartbeat is an answer that shows more values
processed than the one before, so a server that only still listens is silent too. State is in
/run/yiyun-watch/state.json for `yiyun status`; a change goes to the journal. Standard library only.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

STATE = Path("/run/yiyun-watch/state.json")
LINE = Path("/run/yiyun-line.json")
HEADER = b"ZBXD\x01"
ANSWER_SECONDS = 3.0
LINE_FRESH_SECONDS = 5.0
CRITICAL, NOTICE = "<2>", "<5>"
"""syslog's severities as the journal reads them from a line's beginning."""


@dataclass(frozen=True)
class State:
    """`state`: ok, silent, or line-down (then nobody here can say). Times are Unix seconds."""

    server: str
    at: float
    state: str
    since: float
    last_heartbeat: float
    processed: int = 0
    reason: str = ""


def judge(before: State, now: float, line_up: bool, processed: int | None, silent_after: float) -> State:
    """The next state. `processed`: how many values the server has processed since its start, None: no answer.

    A number that fell is a heartbeat too: the server started anew.
    """
    beat = processed is not None and processed != before.processed
    heard = now if beat else before.last_heartbeat
    reason = "" if beat else "no answer" if processed is None else "it answers, and processes nothing"
    state = before.state
    if beat:
        state = "ok"
    elif not line_up:
        state, reason = "line-down", "the line is down: nobody here can say"
        heard = now  # its time begins when the line is back
    elif now - heard >= silent_after:
        state = "silent"
    elif before.state == "line-down":
        state = "ok"
    since = before.since if state == before.state else now
    known = before.processed if processed is None else processed
    return replace(
        before, at=now, state=state, since=since, last_heartbeat=heard, processed=known, reason=reason
    )


def request(body: dict[str, Any]) -> bytes:
    """A message of Zabbix's protocol: header, length, reserved length, JSON."""
    text = json.dumps(body).encode()
    return HEADER + struct.pack("<II", len(text), 0) + text


def processed_values(address: str, port: int) -> int | None:
    """Values the server processed since its start, or None when it does not answer as it should."""
    try:
        with socket.create_connection((address, port), ANSWER_SECONDS) as connection:
            connection.sendall(request({"request": "zabbix.stats"}))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        body = json.loads(answer[len(HEADER) + 8 :])
        return int(body["data"]["wcache"]["values"]["all"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def line_is_up(now: float) -> bool:
    """What this host's line agent says. Without one, or when it is stale, the line counts as up."""
    try:
        state = json.loads(LINE.read_text(encoding="utf-8"))
        return bool(state["up"]) or now - float(state["at"]) > LINE_FRESH_SECONDS
    except (OSError, ValueError, KeyError):
        return True


def tell(state: State) -> None:
    """Say that the state changed. Where messages to people will start."""
    severity = CRITICAL if state.state == "silent" else NOTICE
    why = f": {state.reason}" if state.reason else ""
    print(f"{severity}monitoring on {state.server}: {state.state}{why}", flush=True)  # noqa: T201  the journal


def write(state: State, target: Path = STATE) -> None:
    """Replace the state file; readers never see half of it."""
    temporary = target.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
    temporary.chmod(0o644)
    temporary.replace(target)


def main() -> None:
    """Watch until ended."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    now = time.time()
    state = State(str(settings["server"]), now, "ok", now, now)
    while True:
        processed = processed_values(str(settings["address"]), int(settings["port"]))
        now = time.time()
        after = judge(state, now, line_is_up(now), processed, float(settings["silent_after_seconds"]))
        if after.state != state.state:
            tell(after)
        state = after
        write(state)
        time.sleep(float(settings["period_seconds"]))


if __name__ == "__main__":
    main()
