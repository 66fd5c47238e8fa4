"""What a result was got with: commit, machine, versions."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.reach import run_on

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.paths import EstatePaths

UNKNOWN = "unknown"
RESULTS = "docs/results"
PACKAGES = {"db": "mysql-server-core-9.7 mysql-server-core", "app": "nginx haproxy python3"}
"""Role → packages whose versions matter to a drill; those that a host does not have are left out."""


def commit(here: Path = Path(__file__).parent) -> str:
    """The checkout's commit, with `-dirty` when files differ from it; `unknown` outside a checkout.

    Result files do not count: a run that goes on with one writes it while it runs.
    """
    known = _git(here, "rev-parse", "--short", "HEAD")
    if not known:
        return UNKNOWN
    changed = _git(
        here, "status", "--porcelain", "--untracked-files=no", "--", ":/", f":(top,exclude){RESULTS}"
    )
    return f"{known}-dirty" if changed else known


def _git(here: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


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


def versions(estate: Estate, paths: EstatePaths) -> dict[str, str]:
    """Versions of the toolkit and of what is rehearsed, of the first host of each role that answers."""
    found = own_versions()
    for role, packages in PACKAGES.items():
        for host in estate.hosts_with(role):
            argv = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *packages.split()]
            said = run_on(paths, host.name, argv).stdout
            listed = dict(line.split(" ", 1) for line in said.splitlines() if line.count(" ") == 1)
            found |= {name: version for name, version in listed.items() if version}
            if listed:
                break
    return found
