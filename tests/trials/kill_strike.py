"""Run a verb of the agent and kill one of its processes at a chosen moment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.trials.kill_plan import AGENT, GROUP, VICTIMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server_kit import Agent

    from tests.trials.kill_plan import Kill

LOOK_SECONDS = 0.02
LIMIT_SECONDS = 300.0
GONE_SECONDS = 5.0
"""Children die with their parent; so long they may take."""
STREAM_SECONDS = 6.0
"""A stream goes on for ever: so much of one counts as its life."""


@dataclass(frozen=True)
class Lives:
    """When a victim usually lives while a verb runs, in seconds from the verb's start."""

    born: float
    ended: float


@dataclass(frozen=True)
class Struck:
    """What a kill met. `seconds`: from the verb's start; `survivors`: processes of the run that went on."""

    hit: bool
    seconds: float
    code: int
    said: str
    survivors: list[str]


class Run:
    """A verb that runs, in a process group of its own."""

    def __init__(self, agent: Agent, words: Sequence[str]) -> None:
        self.stream = words[0] == "stream"
        self.folder = agent.folder
        with (agent.folder / "out").open("wb") as out, (agent.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                agent.argv(*words), env=agent.environment(), stdout=out, stderr=err, start_new_session=True
            )
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def goes_on(self) -> bool:
        return self.process.poll() is None and self.seconds < LIMIT_SECONDS

    def victims(self, victim: str) -> list[psutil.Process]:
        """Processes below it that run that program, whatever started it: a shell, a loader."""
        return [child for child in self.children() if victim in _programs(child)]

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self, victim: str) -> bool:
        """Kill it, if it lives."""
        if self.process.poll() is not None:
            return False
        if victim == AGENT:
            self.process.kill()
        elif victim == GROUP:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            found = self.victims(victim)
            for one in found:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            return bool(found)
        return True

    def end(self) -> int:
        """Wait until it has ended; a stream is asked to."""
        if self.stream and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_SECONDS)

    def answer(self) -> dict[str, Any]:
        """What it said on standard output, if it did."""
        with contextlib.suppress(ValueError):
            return dict(json.loads((self.folder / "out").read_text()))
        return {}

    def said(self) -> str:
        """Its error, its problems, or its last words."""
        answer = self.answer()
        if "error" in answer:
            return str(answer["error"]["message"])[:300]
        if answer:
            return "; ".join(answer.get("problems", []))[:300]
        return ""


def observe(run: Run, verb: str) -> dict[str, Lives]:
    """Let a run come to its end, and note when each possible victim lived. AssertionError when it fails."""
    seen: dict[str, list[float]] = {}
    while run.goes_on and not (run.stream and run.seconds > STREAM_SECONDS):
        for victim in VICTIMS[verb]:
            if victim not in {AGENT, GROUP} and run.victims(victim):
                seen.setdefault(victim, []).append(run.seconds)
        time.sleep(LOOK_SECONDS)
    whole = Lives(0.0, round(run.seconds, 3))
    assert run.end() == 0, (verb, run.said(), (run.folder / "err").read_text()[-1000:])
    found = {AGENT: whole, GROUP: whole}
    return found | {v: Lives(round(times[0], 3), round(times[-1], 3)) for v, times in seen.items()}


def strike(run: Run, kill: Kill, lives: Lives) -> Struck:
    """Kill the victim at its moment; when it does not live just then, as soon as it does."""
    moment = lives.born + kill.share * (lives.ended - lives.born)
    while run.goes_on and run.seconds < moment:
        time.sleep(min(LOOK_SECONDS, max(0.0, moment - run.seconds)))
    below = run.children()
    hit = run.kill(kill.victim)
    while not hit and run.goes_on:
        time.sleep(LOOK_SECONDS)
        below = run.children()
        hit = run.kill(kill.victim)
    seconds = round(run.seconds, 2)
    code = _ended(run, by_itself=kill.victim not in {AGENT, GROUP})
    _, alive = psutil.wait_procs(below, GONE_SECONDS)
    survivors = [" ".join(_programs(one)) for one in alive if _lives(one)]
    hit = hit and (code == -signal.SIGKILL or kill.victim not in {AGENT, GROUP})
    return Struck(hit, seconds, code, run.said(), survivors)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _ended(run: Run, *, by_itself: bool) -> int:
    """Its exit code. A stream whose tool was killed goes on by itself: it is given time, and then stopped."""
    if run.stream and by_itself:
        time.sleep(STREAM_SECONDS / 2)
        return run.end()
    return run.process.wait(LIMIT_SECONDS)


def _programs(process: psutil.Process) -> list[str]:
    """Names in the first words of a command line."""
    with contextlib.suppress(psutil.Error):
        return [Path(word).name for word in process.cmdline()[:5] if not word.startswith("-")]
    return []
