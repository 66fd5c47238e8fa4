#!/usr/bin/python3
"""Keep a systemd unit running with its newest files: start it, or restart it when a file is newer than it.

Compares with the time the unit's process started, so a run that was interrupted before its restart is
made good by the next one. A file given by `--reload` asks for a reload only. Prints `changed` or `unchanged`.
"""

from __future__ import annotations

import argparse
import ssl
import subprocess
import sys
import time
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

PERIOD_SECONDS = 0.2
ON_ITS_WAY = {"activating", "reloading"}
"""States that pass: `systemctl reload` returns while a service that notifies is still reloading."""


def started_at(shown: str) -> float | None:
    """Unix time (seconds) in systemd's `Tue 2026-11-24 00:03:32.123456 UTC`, or None when it says nothing."""
    words = shown.split()
    if len(words) != 4:
        return None
    moment = datetime.strptime(f"{words[1]} {words[2]}", "%Y-%m-%d %H:%M:%S.%f")
    return moment.replace(tzinfo=timezone.utc).timestamp()  # noqa: UP017  also read by Python 3.10 tools


def is_stale(state: str, started: float | None, changes: list[float]) -> bool:
    """Whether the unit must be (re)started: not active, or a file changed after its process started."""
    return state not in {"active", "reloading"} or started is None or any(c > started for c in changes)


def _show(unit: str, field: str) -> str:
    command = ["systemctl", "show", unit, f"--property={field}", "--value", "--timestamp=us+utc"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _reload(unit: str, started: float, files: list[Path], *, check: bool) -> bool:
    """Reload a unit for files that changed since it started or was last reloaded; whether it had to be."""
    note = Path(f"/run/yiyun-reloaded-{unit}")
    since = max(started, note.stat().st_mtime if note.exists() else 0.0)
    if not any(path.exists() and path.lstat().st_ctime >= since for path in files):
        return False
    if not check:
        note.touch()
        if subprocess.run(["systemctl", "reload", unit], check=False).returncode != 0:
            note.unlink()
            subprocess.run(["systemctl", "restart", unit], check=False)
    return True


def _settled(unit: str, seconds: float) -> str:
    """The unit's state once it stays, or the passing one it is in when the time is over."""
    deadline = time.monotonic() + seconds
    while (state := _show(unit, "ActiveState")) in ON_ITS_WAY and time.monotonic() < deadline:
        time.sleep(PERIOD_SECONDS)
    return state


def _answers(url: str, authority: str) -> bool:
    try:
        context = ssl.create_default_context(cafile=authority)
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310  given by the role
            return answer.status == 200
    except OSError:
        return False


def _wait_ready(url: str, authority: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if _answers(url, authority):
            return True
        time.sleep(PERIOD_SECONDS)
    return False


def main() -> int:
    """Do it. Exit code 1: the unit does not start or does not answer; its last log lines are on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("unit")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--reload", action="append", default=[], type=Path, help="a file to reload for")
    parser.add_argument("--ready-url", default="")
    parser.add_argument("--authority", default="/etc/yiyun/tls/ca.crt")
    parser.add_argument(
        "--deadline", type=float, default=60, help="seconds to wait for the state and the URL"
    )
    parser.add_argument("--enable", action="store_true", help="start it at boot, too")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    changes = [path.lstat().st_ctime for path in options.files if path.exists()]
    state, started = (
        _show(options.unit, "ActiveState"),
        started_at(_show(options.unit, "ExecMainStartTimestamp")),
    )
    stale = is_stale(state, started, changes)
    if stale and not options.check:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        if options.enable:
            subprocess.run(["systemctl", "enable", "--quiet", options.unit], check=True)
        subprocess.run(["systemctl", "restart", options.unit], check=False)
    elif not stale:
        stale = _reload(options.unit, started or 0.0, options.reload, check=options.check)
    bad = not options.check and _settled(options.unit, options.deadline) != "active"
    if not bad and options.ready_url and not options.check:
        bad = not _wait_ready(options.ready_url, options.authority, options.deadline)
    if bad:
        journal = ["journalctl", "--unit", options.unit, "--lines=15", "--no-pager", "--output=cat"]
        sys.stderr.write(subprocess.run(journal, capture_output=True, text=True, check=False).stdout)
        return 1
    sys.stdout.write("changed\n" if stale else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
