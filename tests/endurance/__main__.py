"""Kill N runs at seeded moments; the next run must complete alone and leave what a clean run leaves."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from tests.endurance.footprint import Footprint, difference, footprint
from tests.endurance.plan import WORDS, Kill, Verb, draw
from tests.endurance.strike import Lives, observe, strike
from tests.lab.harness import ESTATE_FILE, ROOT, Lab

SECONDS = 1800
TRIES = 3
"""How often a kill is tried that came too late."""


def main(
    kills: Annotated[int, typer.Option(help="How many runs are killed.")] = 50,
    seed: Annotated[int, typer.Option(help="What the kills are drawn from.")] = 1,
    out: Annotated[Path, typer.Option(help="The result file.")] = Path("endurance.json"),
    estate: Annotated[
        Path, typer.Option(help="The lab estate to use; it is removed at the end.")
    ] = ESTATE_FILE,
    minutes: Annotated[int, typer.Option(help="Begin no kill after so many minutes.")] = 170,
) -> None:
    """Bring a lab up, kill runs, compare. Exit 1 when any run left something or could not be completed.

    A result file of the same seed is gone on with: what it learned stands, and so does what recovered. A run
    that did not recover is repeated, and what it said is kept beside.
    """
    lab, began = Lab(estate), time.monotonic()
    complete(lab, "up")
    results, lives = earlier(out, seed)
    lives = lives or learn(lab)
    clean = footprint(lab.paths)
    for kill in draw(seed, kills):
        before = results.get(kill.number)
        if before and is_good(before):
            continue
        if time.monotonic() - began > 60 * minutes:
            break
        results[kill.number] = until_hit(lab, kill, lives, clean) | repeated(before)
        typer.echo(json.dumps(results[kill.number]), err=True)
        write(out, seed, kills, lives, list(results.values()))
    lab.yiyun("lab", "down", "--yes")
    bad = [r for r in results.values() if not is_good(r)]
    typer.echo(f"{len(results)} kills, {len(results) - len(bad)} recoveries; {out}")
    raise typer.Exit(1 if bad or len(results) < kills else 0)


def is_good(result: dict[str, Any]) -> bool:
    """Whether a kill met its victim and the next run put everything right."""
    return result["hit"] and result["recovered"]


def lived(lives: dict[Verb, dict[str, Lives]], kill: Kill) -> Lives:
    """When a kill's victim usually lives; one that was not seen, as long as its verb."""
    return lives[kill.verb].get(kill.victim) or lives[kill.verb]["command"]


def until_hit(lab: Lab, kill: Kill, lives: dict[Verb, dict[str, Lives]], clean: Footprint) -> dict[str, Any]:
    """One kill; again when the run had ended before its moment: its life is shorter than was learned."""
    for _ in range(TRIES):
        result = one(lab, kill, lives, clean)
        if result["hit"] or not result["recovered"]:
            break
        born = lived(lives, kill).born
        lives[kill.verb][kill.victim] = Lives(born, max(born, 0.9 * result["seconds"]))
    return result


def repeated(before: dict[str, Any] | None) -> dict[str, Any]:
    """What an earlier try said that did not recover."""
    if before is None or before["recovered"]:
        return {}
    return {"failed_before": {name: before[name] for name in ("commit", "problems")}}


def earlier(out: Path, seed: int) -> tuple[dict[int, dict[str, Any]], dict[Verb, dict[str, Lives]]]:
    """Results of earlier runs with the same seed by number, and when their victims usually lived."""
    if not out.exists():
        return {}, {}
    document = json.loads(out.read_text(encoding="utf-8"))
    if document["seed"] != seed:
        return {}, {}
    known = document["victims_lived_s"]
    by_number = {int(r["number"]): r for r in document["results"]}
    return by_number, {v: {name: Lives(*s) for name, s in of.items()} for v, of in known.items()}


def complete(lab: Lab, verb: Verb) -> float:
    """Run a verb to its end. Returns seconds; AssertionError when it fails."""
    began = time.monotonic()
    answer = lab.yiyun(*(w for w in WORDS[verb] if w != "--full"), seconds=SECONDS)
    assert answer.code == 0, answer.json
    return round(time.monotonic() - began, 1)


def learn(lab: Lab) -> dict[Verb, dict[str, Lives]]:
    """How long each verb and its processes usually live, from one clean run each."""
    found: dict[Verb, dict[str, Lives]] = {}
    for verb in ("lab stop", "lab up", "destroy", "up"):
        found[verb] = dict(observe(lab, verb))
    return found


def one(lab: Lab, kill: Kill, lives: dict[Verb, dict[str, Lives]], clean: Footprint) -> dict[str, Any]:
    """Prepare, kill, run again, return to a running lab, compare."""
    if kill.verb == "lab up":
        complete(lab, "lab stop")
    struck = strike(lab, kill, lived(lives, kill))
    problems, seconds = list[str](), 0.0
    try:
        seconds = complete(lab, kill.verb)
        if kill.verb == "lab stop":
            complete(lab, "lab up")
        if kill.verb == "destroy":
            complete(lab, "up")
        problems = difference(clean, footprint(lab.paths))
        pending = lab.yiyun("preview", "--exit-code").json.get("changes")
        problems += [f"preview: {c['resource']} {c['action']}" for c in pending or []]
    except AssertionError as error:
        problems.append(str(error)[:2000])
        problems += still_broken(lab)
    said = {**asdict(kill), **asdict(struck), "recovered": not problems, "next_run_s": seconds}
    return said | {"commit": commit()} | ({"problems": problems} if problems else {})


def commit() -> str:
    """Of the toolkit that was killed: runs of one file may be of several."""
    argv = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def still_broken(lab: Lab) -> list[str]:
    """Run `up` once more, so that the next kill meets a whole lab; what it said when that failed as well."""
    try:
        complete(lab, "up")
    except AssertionError as error:
        return [f"a further up: {str(error)[:2000]}"]
    return []


def write(
    out: Path, seed: int, wanted: int, lives: dict[Verb, dict[str, Lives]], results: list[dict[str, Any]]
) -> None:
    """The result file, after every kill, so that an ended run still says what it saw."""
    document = {
        "command": f"tests/endure --kills {wanted} --seed {seed}",
        "seed": seed,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "kernel": platform.release(),
        },
        "clean_runs_s": {verb: round(known["command"].ended, 1) for verb, known in lives.items()},
        "victims_lived_s": {
            verb: {name: [round(s.born, 2), round(s.ended, 2)] for name, s in known.items()}
            for verb, known in lives.items()
        },
        "kills": len(results),
        "hit": sum(r["hit"] for r in results),
        "recoveries": sum(r["recovered"] for r in results),
        "results": results,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
