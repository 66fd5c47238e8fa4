"""What is fetched first of a lost estate: its own state, and what its hosts are installed from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyrage

from infra.bundle.model import LOCK_NAME, Bundle, read_lock
from infra.bundle.verify import verify_bundle
from infra.errors import BadInputError, YiyunError
from infra.estate.model import Estate
from infra.paths import EstatePaths
from infra.services.backup import REPOSITORY
from infra.services.base import DEPOT
from infra.trust.own_state import ESTATE, NAME, SECRETS, opened
from infra.trust.store import SecretStore, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runbooks.recovery.away import Away

FILE = "estate.yaml"
"""Name of a recovery's estate file, in the folder of its state. It is derived: nobody writes it."""


@dataclass(frozen=True)
class LostState:
    """What the other region says of the estate: the estate as it was, its secrets, and when that was."""

    estate: Estate
    secrets: bytes
    deposited: str
    """RFC 3339."""


def fetch_state(away: Away) -> LostState:
    """The estate's own state, opened with the kit's key. Raises YiyunError."""
    told, sealed = away.deposit(NAME)
    identity = pyrage.x25519.Identity.from_str(away.kit.identity.strip())
    files = opened(sealed, identity)
    estate = Estate.model_validate_json(files[ESTATE])
    if estate.estate != away.kit.estate:
        raise BadInputError(f"the copies are of {estate.estate}, the kit is of {away.kit.estate}")
    return LostState(estate, files[SECRETS], str(told["ended"]))


def settle(lost: LostState, recovery: Estate, identity: str) -> tuple[EstatePaths, Path]:
    """Write a recovery's own state folder: the secrets that were, their key, and its file.

    Returns the folder's paths and the file. Raises YiyunError where another estate's secrets are.
    """
    paths = EstatePaths(recovery.estate).ensure()
    if not paths.secrets.exists():
        write_private(paths.secrets_key, identity.strip().encode() + b"\n")
        write_private(paths.secrets, lost.secrets)
    elif (
        not paths.secrets_key.exists()
        or paths.secrets_key.read_text(encoding="ascii").strip() != identity.strip()
    ):
        raise YiyunError(
            f"{recovery.estate} has secrets of its own here",
            hint="remove that recovery first: yiyun lab down",
            where=str(paths.secrets),
        )
    file = paths.root / FILE
    # JSON is YAML: every verb takes it as an estate file.
    text = json.dumps(recovery.model_dump(mode="json", exclude_defaults=True), indent=1)
    write_private(file, text.encode())
    return paths, file


def fetch_bundle(
    away: Away, lost: LostState, paths: EstatePaths, to: Path, progress: Callable[[str], None]
) -> Bundle:
    """The bundle that the lost hosts were installed from, every file of it compared with its lock.

    Raises YiyunError.
    """
    host = next(h.name for h in lost.estate.hosts_with("ops"))
    password = SecretStore(paths).get(f"{REPOSITORY}:{host}")
    if password is None:
        raise YiyunError(f"the secrets have no password of the repository of {host}")
    progress(f"the bundle, as {host} had it")
    words = ("--host", host, "--service", DEPOT.name, "--from", away.copies.region, "--to", str(to))
    away.ask("files", *words, "--password", "-", stdin=f"{password}\n")
    path = next((p.parent for p in (to / DEPOT.data_paths[0].lstrip("/")).rglob(LOCK_NAME)), to)
    bundle = Bundle(path, read_lock(path))
    if problems := verify_bundle(path):
        raise YiyunError(f"the bundle is not whole: {problems[0]}", hint="yiyun bundle build makes one")
    return bundle
