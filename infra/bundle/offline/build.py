"""Build an offline folder: everything from the caches (built first where they lack it), locked and signed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.bundle.build import build_bundle
from infra.bundle.offline.control import make_control, require_checkout
from infra.bundle.offline.model import LOCK, SIGNATURE, OfflineLock, Part, described
from infra.bundle.offline.signing import KEY, sign
from infra.bundle.offline.trees import pack_tree
from infra.drivers.lab.commands import run
from infra.drivers.lab.images import RECIPES, ensure_image
from infra.drivers.lab.objectstore_binary import OBJECT_STORE, ensure_objectstore_binary
from infra.engine.bootstrap import ENGINE, ensure_engine
from infra.errors import RefusedError, YiyunError
from infra.estate.plan import provisioned_hosts
from infra.paths import cache_root
from infra.trust.operator_key import key_text

if TYPE_CHECKING:
    from pathlib import Path

    from infra.bundle.model import LockedFile
    from infra.drivers.lab.commands import Progress
    from infra.estate.model import Estate

APPLIANCE = "appliance"
MIN_FREE_BYTES = 2 << 30
"""A folder of the reference estate has 0.8 GB (measured), an archive as much again."""


@dataclass(frozen=True)
class Built:
    """A complete offline folder, and the archive made of it when one was asked for."""

    path: Path
    lock: OfflineLock
    archive: Path | None = None


def default_folder(estate: Estate) -> Path:
    """Where a folder goes when nobody says."""
    return cache_root() / "offline" / estate.estate


def build_folder(estate: Estate, target: Path, progress: Progress, *, archive: bool = False) -> Built:
    """Make `target` an offline folder of this yiyun and of the images that estate needs.

    An older offline folder there is replaced once the new one is whole. Raises RefusedError when something
    else is there, BadInputError outside a checkout, YiyunError when a registry does not answer.
    """
    root = require_checkout()
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_space(target.parent)
    key = KEY.private()
    half = target.with_name(f".{target.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    parts, details = _fill(root, estate, half, progress)
    progress("hashing")
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    version = next(p.version for p in parts if p.kind == "control")
    files = described(half, details)
    lock = OfflineLock(
        yiyun=version, made=made, signer=key_text(key.public_key()), parts=tuple(parts), files=files
    )
    # One line a value, keys sorted: control/install reads it with awk.
    (half / LOCK).write_text(lock.model_dump_json(indent=1) + "\n", encoding="utf-8")
    sign(half, key)
    shutil.rmtree(target, ignore_errors=True)
    half.replace(target)
    return Built(target, lock, _archive(target, progress) if archive else None)


def _fill(root: Path, estate: Estate, half: Path, progress: Progress) -> tuple[list[Part], list[LockedFile]]:
    engine = ensure_engine(progress)
    images = sorted({estate.image_of(h) for h in provisioned_hosts(estate)} | {APPLIANCE})
    parts: list[Part] = []
    (half / "images").mkdir()
    for name in images:
        build = ensure_image(name, progress).parent
        progress(f"image {name}: packing")
        path = f"images/{name}.tar"
        pack_tree(build / "rootfs", half / path)
        stamp = build.name.removeprefix("build-")
        parts.append(Part(kind="image", name=name, version=stamp, key=RECIPES[name].digest, path=path))
    (half / "programs").mkdir()
    for program, binary in ((ENGINE, engine), (OBJECT_STORE, ensure_objectstore_binary(progress))):
        path = f"programs/{program.name}"
        shutil.copy2(binary, half / path)
        parts.append(
            Part(kind="program", name=program.name, version=program.version, key=program.key, path=path)
        )
    bundle = build_bundle(progress)
    progress("copying the hosts' packages")
    shutil.copytree(bundle.path, half / "hosts")
    parts.append(Part(kind="hosts", name="hosts", version="", key=bundle.lock.inputs, path="hosts"))
    details = [f.model_copy(update={"path": f"hosts/{f.path}"}) for f in bundle.lock.files]
    control, more = make_control(root, half, progress)
    return [*parts, control], [*details, *more]


def _archive(folder: Path, progress: Progress) -> Path:
    path = folder.with_name(f"{folder.name}.tar")
    progress(f"writing {path}")
    half = path.with_suffix(".half")
    run(
        ["tar", "--create", "--sort=name", f"--file={half}", f"--directory={folder.parent}", folder.name],
        timeout=1800,
    )
    half.replace(path)
    return path


def _refuse_foreign(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise RefusedError(f"{target} is not a folder", hint="name a new folder")
    if target.is_dir() and any(target.iterdir()) and not (target / LOCK).is_file():
        raise RefusedError(f"{target} holds something else", hint="name an empty or a new folder")


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise YiyunError(
            f"{folder}: {free >> 20} MiB free, an offline bundle needs {MIN_FREE_BYTES >> 20} MiB",
            hint="free some space, or name a folder on a larger disk with --to",
        )


__all__ = ["LOCK", "SIGNATURE", "Built", "build_folder", "default_folder"]
