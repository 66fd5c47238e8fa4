"""Run a verb and kill one of its processes at a chosen moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.endurance.plan import WORDS
from tests.lab.harness import ROOT

if TYPE_CHECKING:
    from tests.endurance.plan import Kill, Verb, Victim
    from tests.lab.harness import Lab

PROGRAMS: dict[Victim, str] = {"engine": "pulumi", "playbook": "ansible-playboo"}
"""Names of the processes as the kernel has them (15 characters)."""
LIMIT_SECONDS = 1200


@dataclass(frozen=True)
class Lives:
    """When a victim usually lives while a verb runs, in seconds from the verb's start."""

    born: float
    ended: float


@dataclass(frozen=True)
class Struck:
    """What a kill met. `seconds`: from the verb's start; `hit` is false when the victim had ended already."""

    hit: bool
    seconds: float
    code: int | None


def start(lab: Lab, verb: Verb) -> subprocess.Popen[bytes]:
    """Start a verb in a process group of its own."""
    argv = [sys.executable, "-m", "cli.main", *WORDS[verb], "--estate", str(lab.source), "--json"]
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def observe(lab: Lab, verb: Verb) -> dict[Victim, Lives]:
    """Run a verb to its end and note when each possible victim lived."""
    run, began = start(lab, verb), time.monotonic()
    seen: dict[Victim, list[float]] = {}
    while run.poll() is None:
        now = time.monotonic() - began
        for victim in PROGRAMS:
            if _victims(run.pid, victim):
                seen.setdefault(victim, []).append(now)
        _pause(run, 0.1)
    if run.returncode != 0:
        raise SystemExit(f"a clean {verb} failed ({run.returncode}); run it by hand")
    whole = Lives(0.0, time.monotonic() - began)
    found: dict[Victim, Lives] = {"command": whole, "group": whole}
    return found | {v: Lives(times[0], times[-1]) for v, times in seen.items()}


def strike(lab: Lab, kill: Kill, lives: Lives) -> Struck:
    """Run the verb, SIGKILL the victim at its moment, and wait for what is left of the run."""
    run, began = start(lab, kill.verb), time.monotonic()
    moment = lives.born + kill.moment * (lives.ended - lives.born)
    while run.poll() is None and time.monotonic() - began < moment:
        _pause(run, 0.05)
    deadline = time.monotonic() + (lives.ended - lives.born)
    hit = _kill(run, kill.victim)
    while not hit and run.poll() is None and time.monotonic() < deadline:
        _pause(run, 0.05)
        hit = _kill(run, kill.victim)
    seconds = time.monotonic() - began
    return Struck(hit, round(seconds, 2), run.wait(LIMIT_SECONDS))


def _kill(run: subprocess.Popen[bytes], victim: Victim) -> bool:
    if run.poll() is not None:
        return False
    if victim == "command":
        run.kill()
        return True
    if victim == "group":
        os.killpg(run.pid, signal.SIGKILL)
        return True
    found = _victims(run.pid, victim)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return bool(found)


def _victims(pid: int, victim: Victim) -> list[psutil.Process]:
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    found: list[psutil.Process] = []
    for child in children:
        with contextlib.suppress(psutil.Error):
            if child.name() == PROGRAMS[victim]:
                found.append(child)
    return found


def _pause(run: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(seconds)
