"""yiyun's own state, kept beside the estate's data in every region, and shown to open."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from infra.errors import YiyunError
from infra.services.base import DEPOT
from infra.trust.own_state import NAME, decided, digest_of, opened, sealed
from infra.trust.store import own_identity, write_private
from runbooks.backups.agent import LONGEST, ask
from runbooks.backups.hosts import asker

BUNDLE = "bundle"
OPENER = "restic"
"""A deposit: where nothing else is left, the copies are opened with it."""

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.bundle.model import Bundle
    from infra.estate.model import Estate
    from infra.paths import EstatePaths


def deposit_state(estate: Estate, paths: EstatePaths, progress: Callable[[str], None]) -> int:
    """Keep the state in every region when the estate or its secrets changed. Returns how many were made.

    Raises YiyunError when a region did not take it: it is sent again by the next run.
    """
    digest, note = digest_of(decided(estate, paths)), paths.deposited
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if before.get("digest") == digest:
        return 0
    progress("the estate's own state, encrypted")
    told = ask(paths, asker(estate), "deposit", "--name", NAME, stdin=sealed(estate, paths))
    if told["problems"]:
        raise YiyunError(
            f"the estate's own state is not everywhere: {told['problems'][0]}", hint="yiyun up sends it"
        )
    write_private(note, json.dumps(before | {"digest": digest, "id": told["id"]}).encode())
    return 1


def deposit_opener(
    estate: Estate, paths: EstatePaths, bundle: Bundle, progress: Callable[[str], None]
) -> int:
    """Keep what opens the repositories beside them, as it came: the Debian package. Returns as above."""
    package = next((f for f in bundle.lock.files if f.package == OPENER), None)
    if package is None:
        raise YiyunError(f"the bundle has no package {OPENER}", hint="yiyun bundle build")
    note = paths.deposited
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if before.get(OPENER) == package.sha256:
        return 0
    progress(f"{OPENER} {package.version}, which opens the repositories")
    told = ask(
        paths, asker(estate), "deposit", "--name", OPENER, stdin=(bundle.path / package.path).read_bytes()
    )
    if told["problems"]:
        raise YiyunError(f"{OPENER} is not everywhere: {told['problems'][0]}", hint="run it again")
    write_private(note, json.dumps(before | {OPENER: package.sha256}).encode())
    return 1


def save_bundle(estate: Estate, paths: EstatePaths, bundle: Bundle, progress: Callable[[str], None]) -> int:
    """Save what hosts are installed from whenever it has become another: not only at night. Returns as above.

    An older bundle in the other region would bring back hosts that this yiyun's roles do not know.
    """
    note = paths.deposited
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if before.get(BUNDLE) == bundle.lock.inputs:
        return 0
    progress("what hosts are installed from, into both regions")
    told = ask(paths, asker(estate), "save", "--service", DEPOT.name, seconds=LONGEST, tell=progress)
    if told["problems"]:
        raise YiyunError(f"the bundle is not everywhere: {told['problems'][0]}", hint="run it again")
    write_private(note, json.dumps(before | {BUNDLE: bundle.lock.inputs}).encode())
    return 1


def state_problems(estate: Estate, paths: EstatePaths, region: str, as_of: str = "") -> list[str]:
    """Whether what a region has of the state opens with the estate's key, and is of today's estate.

    `as_of`: what it had then, which need only open: estate and secrets may have changed since.
    """
    then = ["--as-of", as_of] if as_of else []
    try:
        told = ask(paths, asker(estate), "fetch", "--name", NAME, "--from", region, *then)
        files = opened(base64.b64decode(told["data"]), own_identity(paths))
    except YiyunError as error:
        return [f"{NAME}: {error.message}"]
    if not as_of and digest_of(files) != digest_of(decided(estate, paths)):
        return [
            f"{NAME}: {told['id']} of {told['ended'][:19]} is of another estate or other secrets than now"
        ]
    return []
