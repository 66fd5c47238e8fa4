"""What the result file says, from the runs. Pure, apart from `versions`."""

from __future__ import annotations

import os
import re
import subprocess
from statistics import median
from typing import TYPE_CHECKING, Any

from runbooks.drills.provenance import own_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.backup_benchmark.stopwatch import Run

TARGETS = {"backup": 0.5, "restore": 0.7}
"""Of rclone's speed (the issue's budgets)."""
VERSION = re.compile(r"v?\d+\.\d+[\w.+-]*")
ASKED = {
    "mysql": ("MYSQLD", "--version"),
    "restic": ("RESTIC", "version"),
    "rclone": ("RCLONE", "version"),
    "versitygw": ("S3", "--version"),
}


def told(runs: Sequence[Run], size: int) -> dict[str, Any]:
    """What was measured of one command. `size`: bytes of the data it is about. Pure."""
    seconds = median(run.seconds for run in runs)
    found: dict[str, Any] = {
        "seconds": round(seconds, 2),
        "mb_per_s": round(size / 1e6 / seconds, 1),
        "runs_s": [round(run.seconds, 2) for run in runs],
        "cpu_s": round(median(run.user + run.system for run in runs), 1),
        "largest_process_mib": max(run.largest_process_mib for run in runs),
    }
    names = dict.fromkeys(name for run in runs for name in run.phases)
    if names:
        found["phases_s"] = {n: round(median(r.phases.get(n, 0.0) for r in runs), 2) for n in names}
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """How fast we are beside another one: pairs in the order they were run; 1 is as fast, 2 twice. Pure."""
    pairs = [their / our for our, their in zip(ours, theirs, strict=True)]
    return {"ratio": round(median(pairs), 2), "pairs": [round(p, 2) for p in pairs]}


def budgets(measured: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """The two that the issue names, with the nearer comparisons below them. Pure.

    Backup: the agent's `base`, from CLONE to the entry in both catalogues, beside rclone of the same bytes to
    both regions. Restore: the same bytes, to the base's own set, beside rclone back into a folder.
    """
    both = zip(_times(measured, "rclone out"), _times(measured, "rclone over"), strict=True)
    rclone = [out + over for out, over in both]
    found = {
        "backup": _times(measured, "agent base"),
        "restore": _times(measured, "agent restore base"),
    }
    judged = {
        "backup": ratio(found["backup"], rclone),
        "restore": ratio(found["restore"], _times(measured, "rclone back")),
    }
    for name, target in TARGETS.items():
        judged[name] |= {"target": target, "met": judged[name]["ratio"] >= target}
    saves = [run.phases["save"] for run in measured["agent base"]]
    copies = [run.phases["copy to far"] for run in measured["agent base"]]
    newest = _times(measured, "agent restore newest")
    return judged | {
        "save alone, to one region": ratio(saves, _times(measured, "rclone out")),
        "copy alone, from region to region": ratio(copies, _times(measured, "rclone over")),
        "restore of the newest state, with the log": ratio(newest, _times(measured, "rclone back")),
    }


def _times(measured: Mapping[str, Sequence[Run]], name: str) -> list[float]:
    return [run.seconds for run in measured[name]]


def versions() -> dict[str, str]:
    """Of everything that ran."""
    commands = {name: [os.environ[f"YIYUN_TEST_{of}"], word] for name, (of, word) in ASKED.items()}
    commands |= {name: [name, "--version"] for name in ("hyperfine", "zstd")}
    found = own_versions()
    for name, argv in commands.items():
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        said = re.sub(r"/\S+", "", done.stdout)
        match = VERSION.search(said)
        found[name] = match[0] if match else said.strip()
    return found
