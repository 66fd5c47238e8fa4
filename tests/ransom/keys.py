"""Which keys of object storage lie on which host: looked for byte by byte, not taken from the plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra.trust.material import Material
from tests.lab.leaks import files_with

if TYPE_CHECKING:
    from tests.lab.harness import Lab


def keys_of(lab: Lab) -> dict[str, str]:
    """Account → key: of every account of the stores, and of each store's owner."""
    keys = dict(Material(lab.estate, lab.paths).bucket_keys())
    for note in (lab.paths.lab / "objectstore").glob("*.json"):
        owner = json.loads(note.read_text(encoding="utf-8"))
        keys[owner["access_key"]] = owner["secret_key"]
    return keys


def held(lab: Lab) -> dict[str, list[str]]:
    """Host → accounts whose keys are in its files or on its disks."""
    needles = {key.encode(): account for account, key in keys_of(lab).items()}
    found: dict[str, list[str]] = {}
    for host in lab.estate.hosts:
        places = [lab.paths.lab / "hosts" / host.name / "upper"]
        places += (lab.paths.lab / "mounts").glob(f"{host.name}-*")
        found[host.name] = sorted(
            {account for what in files_with(places, needles).values() for account in what}
        )
    return found
