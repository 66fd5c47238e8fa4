"""Kill a drill's controller at random moments: the next run must find what is left, undo it, and say so.

`python -m tests.killed_drills --estate FILE --out docs/results/killed-drills.json --count 10 --seed 7`, on a
lab that is up. Each time a drill is begun, its process is killed (SIGKILL) after a time of the seed, then
`yiyun drill resume` runs, and the estate must become whole by itself. A command and not a test: its result is
committed. Exit code 1 when one of them was not put right.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.drills.folder import folders
from runbooks.drills.provenance import commit, machine

ROOT = Path(__file__).parents[1]
DRILLS = ("mysql-writer-kill", "mysql-writer-freeze", "mysql-writer-isolate", "app-loss")
LONGEST_SECONDS = 25.0
"""A drill has begun, broken and undone by then on two cores: kills fall on all of its parts."""
WHOLE_SECONDS = 240.0


@dataclass(frozen=True)
class Kill:
    """One drill that is killed: after how many seconds."""

    drill: str
    after_s: float


def drawn(seed: int, count: int) -> list[Kill]:
    """The kills of a seed. Pure."""
    source = random.Random(seed)  # noqa: S311  a seed that can be repeated
    return [Kill(source.choice(DRILLS), round(source.uniform(1.0, LONGEST_SECONDS), 2)) for _ in range(count)]


def good(result: dict[str, Any]) -> bool:
    """Whether a kill was put right: nothing is left, a second resume finds none, all is whole. Pure."""
    told = result["left"] == 0 or bool(result["undone"])
    return result["killed"] and told and result["resumed_again"] == [] and result["problems"] == []


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.killed_drills")
    parser.add_argument("--estate", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    for kill in drawn(asked.seed, asked.count):
        results.append(one(kill, asked.estate))
        sys.stderr.write(json.dumps(results[-1]) + "\n")
    told = {
        "command": f"python -m tests.killed_drills --count {asked.count} --seed {asked.seed}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "good": sum(map(good, results)),
        "results": results,
    }
    asked.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if told["good"] == asked.count else 1


def one(kill: Kill, estate: str) -> dict[str, Any]:
    """Begin a drill, kill its process group, resume, and look until the estate is whole."""
    paths = EstatePaths(load_estate(estate).estate)
    before = {folder.path for folder in folders(paths)}
    with subprocess.Popen(
        _argv(estate, "drill", "run", kill.drill, "--yes"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as controller:
        try:
            controller.wait(kill.after_s)
        except subprocess.TimeoutExpired:
            os.kill(controller.pid, signal.SIGKILL)
        code = controller.wait()
    events = [e.name for folder in folders(paths) if folder.path not in before for e in folder.events()]
    began = time.monotonic()
    first, second = said(estate, "drill", "resume"), said(estate, "drill", "resume")
    refused = [str(answer["error"]) for answer in (first, second) if not answer["ok"]]
    problems = refused + whole(estate)
    running = [p.pid for p in psutil.process_iter() if is_workload(p)]
    return {
        **asdict(kill),
        "killed": code == -signal.SIGKILL,
        "reached": events[-1] if events else "nothing",
        "left": events.count("will-undo") - events.count("undone"),
        "undone": first.get("undone", []),
        "resumed_again": second.get("undone", []),
        "problems": problems + [f"process {pid} of the workload goes on" for pid in running],
        "whole_after_s": round(time.monotonic() - began, 1),
    }


def is_workload(process: psutil.Process) -> bool:
    """Whether a process is a drill's workload: none may outlive its controller."""
    try:
        return any(word.startswith("runbooks.drills.workloads.") for word in process.cmdline())
    except psutil.Error:
        return False


def whole(estate: str) -> list[str]:
    """What `status` still complains of when the time is over; empty as soon as it is content."""
    until = time.monotonic() + WHOLE_SECONDS
    while (problems := said(estate, "status")["problems"]) and time.monotonic() < until:
        time.sleep(1.0)
    return problems


def said(estate: str, *words: str) -> dict[str, Any]:
    """A verb's answer."""
    done = subprocess.run(_argv(estate, *words), cwd=ROOT, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout))


def _argv(estate: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *words, "--json", "--estate", estate]


if __name__ == "__main__":
    sys.exit(main())
