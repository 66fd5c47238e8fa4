"""`YIYUN_COLD=1`: no cache is believed, yet one run builds a thing only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from infra.paths import cold

if TYPE_CHECKING:
    from pathlib import Path

_VARIABLE = "YIYUN_COLD"


def is_fresh(built: Path) -> bool:
    """Whether a cached file or folder may be used: it exists and, in a cold run, was made by this very run.

    A run is the tree of processes below the first one that was given `YIYUN_COLD` (make, a shell
    script, or the command itself), so a cold `make test` builds the engine once, not at each call.
    """
    if not built.exists():
        return False
    return not cold() or built.stat().st_mtime >= run_started()


def run_started() -> float:
    """When the first of our ancestors that was given `YIYUN_COLD` began, in seconds since the epoch."""
    process = psutil.Process()
    started = process.create_time()
    for ancestor in process.parents():
        try:
            if _VARIABLE not in ancestor.environ():
                break
            started = ancestor.create_time()
        except psutil.Error:
            break
    return started
