"""Of what a drill's report speaks: the estate, its configuration and versions, and the people."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import rfc8785

from runbooks.drills.provenance import commit, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.estate.model import Estate
    from infra.paths import EstatePaths


@dataclass(frozen=True)
class People:
    """Who ran the drill, who allowed it, who watched; a report has lines for their signatures."""

    operator: str
    approver: str = ""
    observer: str = ""


def whoever_runs_this() -> str:
    """The user behind this process, also behind `sudo`."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def about(
    name: str, estate: Estate, paths: EstatePaths, people: People, silent: Sequence[str]
) -> dict[str, Any]:
    """`id`, `estate`, `people`, `silent` (layers that could not be asked). An unknown version is empty."""
    return {
        "id": name,
        "estate": {
            "name": estate.estate,
            "scope": "lab" if estate.provider == "lab" else "provider",
            "config_sha256": config_sha256(estate),
            "versions": versions(estate, paths) | {"commit": commit(), "kernel": platform.release()},
        },
        "people": asdict(people),
        "silent": list(silent),
    }


def config_sha256(estate: Estate) -> str:
    """SHA-256 (hex) of the whole declared estate in canonical JSON: what was drilled is what was declared."""
    return hashlib.sha256(rfc8785.dumps(estate.model_dump(mode="json"))).hexdigest()
