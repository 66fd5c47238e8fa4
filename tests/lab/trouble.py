"""Bring the lab up as it goes on a bad day: killed while packages unpack, killed again, one database late.

What comes out is the lab that every other test uses, so all of them run on an estate that was interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.drivers.lab.hosts import containers
from infra.drivers.lab.names import qualified
from tests.lab.harness import ROOT
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.harness import Lab

MEMBERS = ("db-1", "db-2", "db-3")
LATE = "db-3"
GROUP = "/usr/local/sbin/yiyun-mysql-group"


@dataclass(frozen=True)
class Story:
    """What happened on the way up. `joined_after`: seconds from the late member's start until it served."""

    killed: tuple[str, ...]
    formed_without: dict[str, str]
    joined_after: float


def bring_up(lab: Lab) -> Story:
    """From nothing to verified, through two kills of the whole run and a group formed without a member."""
    killed = (
        killed_at(lab, lambda: task_began(lab, "mysql : Packages") and runs_on(lab, "db-1", "dpkg")),
        killed_at(lab, lambda: task_began(lab, "mysql : The server runs")),
    )
    formed, seconds = form_with_one_late(lab)
    answer = lab.yiyun("up", "--yes", seconds=2400)
    assert answer.code == 0, answer.json
    return Story(killed, formed, seconds)


def killed_at(lab: Lab, moment: Callable[[], bool]) -> str:
    """Run `up` until `moment` is true, then SIGKILL its process group. Returns the step it was in."""
    argv = [sys.executable, "-m", "cli.main", "up", "--yes", "--estate", str(lab.source), "--json"]
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as run:
        eventually(lambda: run.poll() is not None or moment(), seconds=2400, every=0.1)
        assert run.poll() is None, f"it ended before it could be killed: {run.stdout and run.stdout.read()}"
        os.killpg(run.pid, signal.SIGKILL)
    steps = json.loads(lab.paths.journal.read_text(encoding="utf-8"))
    return f"after step {steps[-1]['name']}"


def task_began(lab: Lab, name: str) -> bool:
    """Whether the playbook that runs now has come to a task of that name."""
    streams = lab.paths.ansible.glob("*.jsonl")
    return any(f'"name": "{name}"' in path.read_text(encoding="utf-8") for path in streams)


def runs_on(lab: Lab, host: str, program: str) -> bool:
    """Whether a program runs on a host, seen from this machine."""
    container = containers(lab.estate.estate).get(qualified(lab.estate.estate, host))
    if container is None or not container.pid:
        return False
    inside = namespace_of(container.pid)
    found = [p.pid for p in psutil.process_iter(["name"]) if p.info["name"] == program]
    return inside in [namespace_of(pid) for pid in found]


def namespace_of(pid: int) -> int | None:
    """Inode of a process's PID namespace; None when it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino
    except OSError:
        return None


def form_with_one_late(lab: Lab) -> tuple[dict[str, str], float]:
    """Form the group while one server is down; then start that one as a boot does, and touch nothing."""
    eventually(lambda: not playbooks_running(lab), seconds=30)
    lab.on(LATE, "systemctl", "stop", "mysql")
    for member in MEMBERS:
        if member != LATE:
            lab.on(member, "systemctl", "start", "mysql")
    formed = json.loads(lab.on("db-1", GROUP, "converge", seconds=180))["members"]
    lab.on(LATE, "systemctl", "start", "mysql", "yiyun-mysql-group")
    started = time.monotonic()
    eventually(lambda: set(states(lab).values()) == {"ONLINE"}, seconds=120, every=0.5)
    return formed, time.monotonic() - started


def states(lab: Lab) -> dict[str, str]:
    """Member → state, as the first member sees them."""
    seen = json.loads(lab.on("db-1", GROUP, "status"))["members"]
    return {m["name"]: m["state"] if m["answered"] else "SILENT" for m in seen}


def playbooks_running(lab: Lab) -> bool:
    """Whether a playbook of this estate still runs, such as one whose killed parent it has not noticed."""
    for process in psutil.process_iter(["cmdline"]):
        if any("ansible-playbook" in word for word in process.info["cmdline"] or ()):
            try:
                if process.environ().get("YIYUN_ESTATE") == str(lab.source):
                    return True
            except psutil.Error:
                continue
    return False
