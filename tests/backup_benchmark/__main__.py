"""Entry point: makes the bed, runs the course, writes the result."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbooks.drills.provenance import commit, machine
from tests.backup_benchmark.bed import standing
from tests.backup_benchmark.course import Asked, Course
from tests.backup_benchmark.result import budgets, told, versions
from tests.backup_benchmark.rivals import Rivals
from tests.backup_benchmark.stopwatch import must_be_here

MODULE = "python -m tests.backup_benchmark"


def main() -> int:
    """Exit code 1 when a budget is missed."""
    parser = argparse.ArgumentParser(prog=MODULE, description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0, help="of InnoDB pages")
    parser.add_argument("--rounds", type=int, default=3, help="of everything that has a rival")
    parser.add_argument("--transfers", type=int, default=30_000, help="in the log")
    parser.add_argument("--seed", type=int, default=1, help="of the rows")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a disk with 5 times the room")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    must_be_here()
    asked = Asked(int(options.gib * 2**30), options.rounds, options.transfers, options.seed)
    with tempfile.TemporaryDirectory(prefix="yiyun-benchmark-", dir=options.work) as name:
        folder = Path(name)
        with standing(folder) as bed:
            course = Course(bed, Rivals(bed, folder / "rivals"), asked)
            course.run()
            result = written(course, options)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    missed = [name for name, found in result["budgets"].items() if found.get("met") is False]
    sys.stdout.write(f"{options.out}: {'missed: ' + ', '.join(missed) if missed else 'good'}\n")
    return 1 if missed else 0


def written(course: Course, options: argparse.Namespace) -> dict[str, Any]:
    """Everything the result file says."""
    size = course.data["bytes"]
    measured = {name: told(runs, size) for name, runs in course.measured.items()}
    for name, found in measured.items():
        found |= {"stored_bytes": course.stored[name]} if name in course.stored else {}
        found |= {"verified": course.verified[name]} if name in course.verified else {}
    return {
        "what": "the backup agent beside rclone, restic and mysqldump: the same bytes, the same two stores",
        "command": f"{MODULE} --gib {options.gib:g} --rounds {options.rounds} --transfers {options.transfers}"
        f" --seed {options.seed}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "seed": options.seed,
        "data": course.data,
        "budgets": budgets(course.measured),
        "measured": measured,
        "stored_far_bytes": course.stored["agent base, far"],
    }


if __name__ == "__main__":
    sys.exit(main())
