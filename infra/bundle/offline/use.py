"""Take an offline folder over: put its parts where `yiyun up` looks before it asks any registry."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infra.bundle.build import alone, bundles_folder, input_hash, is_whole, source_root
from infra.bundle.model import LOCK_NAME, sha256_of
from infra.bundle.offline.model import LOCK
from infra.bundle.offline.signing import pin
from infra.bundle.offline.trees import unpack_tree
from infra.bundle.offline.verify import Verified, require_whole
from infra.bundle.verify import verify_bundle
from infra.drivers.lab.commands import run
from infra.drivers.lab.images import RECIPES, adopt_image
from infra.drivers.lab.objectstore_binary import OBJECT_STORE
from infra.engine.bootstrap import ENGINE
from infra.engine.golang import adopt, built
from infra.errors import BadInputError, RefusedError, YiyunError
from infra.paths import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from infra.bundle.offline.model import OfflineLock, Part
    from infra.drivers.lab.commands import Progress

PROGRAMS = {p.name: p for p in (ENGINE, OBJECT_STORE)}


def use_folder(source: Path, given_key: str, progress: Progress) -> tuple[Verified, list[str]]:
    """Verify a folder (or its .tar), then import it. Returns what was imported, a word each.

    Nothing is imported from a folder that is not whole, not signed by a trusted key, or made for another
    yiyun. A key that was given is trusted from now on. Raises RefusedError, YiyunError or BadInputError.
    """
    with opened(source, progress) as folder:
        verified = require_whole(folder, given_key, progress)
        refuse_unfit(verified.lock)
        imported = [
            f"{part.kind} {part.name}"
            for part in verified.lock.parts
            if part.kind != "control" and _IMPORT[part.kind](folder, part, verified.lock, progress)
        ]
    if given_key:
        pin(verified.key)
    return verified, imported


@contextmanager
def opened(source: Path, progress: Progress) -> Generator[Path]:
    """An offline folder: as it is, or unpacked from its .tar for the time being. Raises BadInputError."""
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise BadInputError(f"no folder or archive {source}", hint="yiyun bundle build --to FOLDER makes one")
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="offline-", dir=cache_root()) as place:
        progress(f"unpacking {source}")
        command = ["tar", "--extract", "--no-same-owner", f"--directory={place}", f"--file={source}"]
        if run(command, check=False, timeout=1800).returncode != 0:
            raise BadInputError(f"{source} is not a tar archive", hint="name the folder or its .tar")
        found = list(Path(place).glob(f"*/{LOCK}"))
        if len(found) != 1:
            raise BadInputError(f"{source} holds no offline bundle", hint="name the folder or its .tar")
        yield found[0].parent


def refuse_unfit(lock: OfflineLock) -> None:
    """Raises RefusedError when the folder was made for another yiyun, whose caches have other names."""
    expected = {("hosts", "hosts"): input_hash(source_root())}
    expected |= {("image", name): recipe.digest for name, recipe in RECIPES.items()}
    expected |= {("program", name): program.key for name, program in PROGRAMS.items()}
    unfit = [p.name for p in lock.parts if p.kind != "control" and expected.get((p.kind, p.name)) != p.key]
    if unfit:
        raise RefusedError(
            f"made by another yiyun ({lock.yiyun}, {lock.made}): {', '.join(unfit)} would not be found",
            hint="install the yiyun that is in it: FOLDER/control/install KEY",
        )


def _hosts(folder: Path, part: Part, lock: OfflineLock, progress: Progress) -> bool:
    place = bundles_folder()
    place.mkdir(parents=True, exist_ok=True)
    with alone(place, progress):
        if is_whole(place / part.key):
            return False
        progress("importing the hosts' packages")
        half = place / f"half-{part.key}"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(folder / part.path, half)
        problems = verify_bundle(half)
        if sha256_of(half / LOCK_NAME) != lock.sha256(f"{part.path}/{LOCK_NAME}"):
            problems.append(f"{LOCK_NAME}: altered")
        if problems:
            raise YiyunError(f"altered while it was read: {problems[0]}", hint="get the folder again")
        shutil.rmtree(place / part.key, ignore_errors=True)
        half.replace(place / part.key)
    return True


def _image(folder: Path, part: Part, lock: OfflineLock, progress: Progress) -> bool:
    def unpack(root: Path) -> None:
        progress(f"importing image {part.name}")
        unpack_tree(folder / part.path, lock.sha256(part.path), root)

    return adopt_image(part.name, part.key, part.version, unpack)


def _program(folder: Path, part: Part, lock: OfflineLock, progress: Progress) -> bool:
    program = PROGRAMS[part.name]
    if built(program) is not None:
        return False
    progress(f"importing {part.name}")
    adopt(program, folder / part.path, lock.sha256(part.path))
    return True


_IMPORT: dict[str, Callable[[Path, Part, OfflineLock, Progress], bool]] = {
    "hosts": _hosts,
    "image": _image,
    "program": _program,
}
