"""What a result was got with: commit, machine, versions."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

UNKNOWN = "unknown"


def commit() -> str:
    """The checkout's commit, with `-dirty` when files differ from it; `unknown` outside a checkout."""
    argv = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(argv, cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN if done.returncode == 0 else UNKNOWN


def machine() -> dict[str, str | int]:
    """Processors, memory (GiB) and kernel of this machine, which a lab shares with its clients."""
    return {
        "cores": psutil.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": platform.release(),
    }


def own_versions() -> dict[str, str]:
    """Versions of what ran the drills."""
    try:
        yiyun = metadata.version("yiyun")
    except metadata.PackageNotFoundError:
        yiyun = UNKNOWN
    return {"yiyun": yiyun, "python": platform.python_version()}
