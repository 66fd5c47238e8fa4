"""Kill runs of the agent at drawn moments: the next run completes alone, and nothing half made is trusted."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbooks.drills.provenance import commit
from tests.trials.kill_bed import kill_bed
from tests.trials.kill_plan import AGENT, VICTIMS, drawn, is_good
from tests.trials.kill_strike import Lives, observe, strike
from tests.trials.record import provenance, say, write

if TYPE_CHECKING:
    from tests.trials.kill_bed import KillBed
    from tests.trials.kill_plan import Kill

TRIES = 3
"""How often a kill is tried that came too late."""
SHORTER = 0.9
"""Of the time after which a run had ended before the kill: its life the next time."""
LIVES = dict[str, dict[str, Lives]]


def run(seed: int, out: Path, count: int) -> bool:
    """Play it, beginning where a result of the same seed ends. Returns whether every kill was put right."""
    results = earlier(out, seed)
    with tempfile.TemporaryDirectory(prefix="yiyun-trial-") as name, kill_bed(Path(name) / "bed") as bed:
        lives = learn(bed)
        for kill in drawn(seed, count):
            if kill.number in results and is_good(results[kill.number]):
                continue
            results[kill.number] = until_hit(bed, kill, lives)
            say(json.dumps(results[kill.number]))
            write(out, document(seed, count, lives, results, []))
        bed.catch_up()
        problems = [problem for region in ("near", "far") for problem in bed.restored_alone(region)]
        told = document(seed, count, lives, results, problems) | {
            "both_regions_restored_at_the_end": not problems
        }
        write(out, told)
    say(f"{told['put_right']} of {count} put right, problems at the end: {problems}; {out}")
    return told["put_right"] == count and not problems


def learn(bed: KillBed) -> LIVES:
    """When each verb's processes live, from one undisturbed run each."""
    found: LIVES = {}
    for verb in VICTIMS:
        with bed.prepared(verb) as words:
            running = bed.start(words)
            found[verb] = observe(running, verb)
        assert not (lacking := bed.lacking(verb, running.answer()) if verb != "stream" else []), lacking
        say(f"{verb}: {found[verb]}")
    return found


def until_hit(bed: KillBed, kill: Kill, lives: LIVES) -> dict[str, Any]:
    """One kill; again when the run had ended before its moment: its life is shorter than was learned."""
    for _ in range(TRIES):
        result = one(bed, kill, lives[kill.verb].get(kill.victim, lives[kill.verb][AGENT]))
        if result["hit"] or result["problems"]:
            break
        born = lives[kill.verb].get(kill.victim, lives[kill.verb][AGENT]).born
        lives[kill.verb][kill.victim] = Lives(born, max(born, SHORTER * result["seconds"]))
    return result


def one(bed: KillBed, kill: Kill, lives: Lives) -> dict[str, Any]:
    """Kill a run, look at what is left, run again, look whether all is right."""
    problems: list[str] = []
    with bed.prepared(kill.verb) as words:
        struck = strike(bed.start(words), kill, lives)
    problems += [f"it went on: {name}" for name in struck.survivors]
    if bed.target_is() == "whole" and struck.code != 0:
        problems.append("a target that is not finished is not marked")
    left = bed.left()
    problems += [f"right after the kill: {text}" for text in bed.distrusted()]
    told = {**asdict(kill), **asdict(struck), "left": left, "commit": commit()}
    return told | next_run(bed, kill.verb, words, problems)


def next_run(bed: KillBed, verb: str, words: tuple[str, ...], problems: list[str]) -> dict[str, Any]:
    """The same command once more, by nobody's hand; a stream, until everything is stored."""
    if verb == "restore" and bed.target_is() == "whole":
        bed.lacking(verb, {"gtids": ""})  # the run had ended: its folder goes, as an operator would have it
    began = time.monotonic()
    running = bed.start(words)
    if verb == "stream":
        problems += bed.lacking(verb, {})
    code, seconds = running.end(), round(time.monotonic() - began, 1)
    answer = running.answer()
    if code != 0:
        problems.append(f"the next run ended with {code}: {running.said()}")
    elif verb != "stream":
        problems += bed.lacking(verb, answer)
    problems += bed.unclean()
    return {
        "next": {"code": code, "said": running.said(), "seconds": seconds},
        "left_afterwards": bed.left(),
        "problems": problems,
    }


def earlier(out: Path, seed: int) -> dict[int, dict[str, Any]]:
    """What an ended run of the same seed had come to."""
    if not out.exists():
        return {}
    document = json.loads(out.read_text(encoding="utf-8"))
    return {int(r["number"]): r for r in document["kills"]} if document["seed"] == seed else {}


def document(
    seed: int, count: int, lives: LIVES, results: dict[int, dict[str, Any]], problems: list[str]
) -> dict[str, Any]:
    """The result file, also while it grows."""
    ordered = [results[number] for number in sorted(results)]
    seconds = sorted(result["next"]["seconds"] for result in ordered)
    return provenance(f"kills --seed {seed} --count {count}") | {
        "seed": seed,
        "hit": sum(result["hit"] for result in ordered),
        "put_right": sum(map(is_good, ordered)),
        "next_run_p50_s": seconds[len(seconds) // 2],
        "next_run_max_s": seconds[-1],
        "with_locks_left": sum("restic_locks" in result["left"] for result in ordered),
        "problems_at_the_end": problems,
        "undisturbed_s": {
            verb: {victim: [known.born, known.ended] for victim, known in found.items()}
            for verb, found in lives.items()
        },
        "kills": ordered,
    }
