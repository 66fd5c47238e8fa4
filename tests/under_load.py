"""Verbs on a lab that is up, under a workload whose every answer is recorded and checked.

`python -m tests.under_load --estate FILE --out docs/results/planned-switches.json --count 20 -- switch`
runs `yiyun db switch` twenty times; what stands after `--` are the words of one `yiyun db` verb, or with
`--of backup` of a `yiyun backup` verb, and then the far region's log is timed too. It is a command and not
a test: its result is committed with commit, machine and seed. Exit code 1 when a verb failed, an operation
failed or stayed unknown, the log came too late, or the checker found anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.backups.hosts import far_region, restorer
from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.history import Operation, read_history
from runbooks.drills.evidence.timing import quantile
from runbooks.drills.model import Workload
from runbooks.drills.provenance import commit, machine, versions
from runbooks.drills.workloads.offered import OFFERS
from tests.stream_lag import BUDGET_P99_S, lags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.estate.model import Estate

ROOT = Path(__file__).parents[1]
KIND = "database"
BETWEEN_SECONDS = 2.0
"""Of load before, between and after the verbs."""
OPTIONS = {"db": ("--yes",), "backup": ()}
"""What a group's verbs are told besides."""
VERB_SECONDS = 1800


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.under_load")
    parser.add_argument("--estate", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", choices=sorted(OPTIONS), default="db", help="the group of the verb")
    parser.add_argument("--between", type=float, default=BETWEEN_SECONDS, help="seconds of load before each")
    parser.add_argument("words", nargs="+", help="after --: the words of the verb")
    asked = parser.parse_args()
    result = measured(asked)
    asked.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{asked.out}: {'good' if result['good'] else 'NOT good'}\n")
    return 0 if result["good"] else 1


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything the result file says."""
    estate = load_estate(asked.estate)
    paths = EstatePaths(estate.estate)
    workload = Workload(kind=KIND, rate=asked.rate, clients=asked.clients)
    offer = OFFERS[KIND]
    client = estate.hosts_with("app")[0].name
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.jsonl"
        running = offer.begin(estate, paths, workload, history, asked.seed, client)
        verbs: list[dict[str, Any]] = []
        try:
            began = time.time()
            for _ in range(asked.count):
                time.sleep(asked.between)
                verbs.append(one(asked.of, asked.words, asked.estate))
            time.sleep(asked.between)
        finally:
            trouble = running.trouble()
            running.end()
        late = lateness(estate, paths, began) if asked.of == "backup" else {}
        operations = read_history(history)
    findings = check(operations, offer.held(estate, paths), offer.total)
    told = figures(operations, verbs)
    good = not trouble and all(v["code"] == 0 for v in verbs) and not findings.violations
    good &= all(stream["p99_s"] <= BUDGET_P99_S for stream in late.get("log", {}).values())
    more = f" --of {asked.of} --between {asked.between:g}" if asked.of != "db" else ""
    return {
        "command": f"python -m tests.under_load --count {asked.count}{more} -- {' '.join(asked.words)}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(estate, paths),
        "workload": workload.model_dump() | {"seed": asked.seed},
        "good": good and told["failed"] == told["unknown"] == 0,
        "trouble": trouble,
        **told,
        **late,
        "violations": [asdict(v) for v in findings.violations],
        "verbs": verbs,
    }


def lateness(estate: Estate, paths: EstatePaths, began: float) -> dict[str, Any]:
    """How late the log was in the far region since a time (seconds since 1970), stream by stream."""
    ended, region = time.time(), far_region(estate)
    log = lags(paths, restorer(estate), region, began, ended)
    return {"region": region, "minutes": round((ended - began) / 60, 1), "log": log}


def one(group: str, words: list[str], estate: str) -> dict[str, Any]:
    """Run a verb once. `began` and `ended`: of the clock that the workload notes its operations by."""
    argv = [sys.executable, "-m", "cli.main", group, *words, *OPTIONS[group], "--json", "--estate", estate]
    began = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=VERB_SECONDS, check=False)
    said = json.loads(done.stdout)
    kept = {name: said[name] for name in KEPT if name in said}
    return {"code": done.returncode, "began": began, "ended": time.monotonic(), **kept}


KEPT = ("from", "to", "pause_s", "tries", "member", "cloned", "away_s", "restart_only", "members", "error")
"""What the verbs say that the result keeps."""


def figures(operations: list[Operation], verbs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the clients felt while the verbs ran, beside the times between them. Pure."""
    spans = [(v["began"], v["ended"]) for v in verbs]
    inside, outside = list[Operation](), list[Operation]()
    for op in operations:
        during = any(began <= op.ended and op.intended <= ended for began, ended in spans)
        (inside if during else outside).append(op)
    pauses = sorted(v["pause_s"] for v in verbs if v.get("pause_s") is not None)
    return {
        "operations": len(operations),
        "acknowledged": sum(op.acknowledged for op in operations),
        "failed": sum(op.outcome == "fail" for op in operations),
        "unknown": sum(op.outcome == "unknown" for op in operations),
        "troubled": [
            {"verb": _number(op, spans), "at_s": _since(op, spans), "kind": op.kind, "error": op.error}
            for op in operations
            if op.outcome != "ok"
        ],
        "members": sorted({op.member for op in operations if op.member}),
        "pause_p50_s": quantile(pauses, 0.5) if pauses else None,
        "pause_max_s": pauses[-1] if pauses else None,
        "wait_p99_s": {name: _p99(ops) for name, ops in (("during", inside), ("between", outside))},
        "longest_wait_s": max((_wait(op) for op in inside), default=None),
    }


def _number(op: Operation, spans: Sequence[tuple[float, float]]) -> int:
    """Which of the verbs had begun last when it ended, from 1; 0 before the first."""
    return sum(began <= op.ended for began, _ in spans)


def _since(op: Operation, spans: Sequence[tuple[float, float]]) -> float | None:
    number = _number(op, spans)
    return round(op.ended - spans[number - 1][0], 3) if number else None


def _wait(op: Operation) -> float:
    return round(op.ended - op.intended, 3)


def _p99(operations: list[Operation]) -> float | None:
    return quantile([_wait(op) for op in operations], 0.99) if operations else None


if __name__ == "__main__":
    sys.exit(main())
