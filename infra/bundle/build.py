"""Build the bundle: stages kept by the hash of their inputs, put together under one lock."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

import infra
from infra.bundle.debs import fetch_debs
from infra.bundle.lists import package_lists
from infra.bundle.model import LOCK_NAME, Bundle, LockedFile, read_lock, write_lock
from infra.bundle.wheels import (
    PAYLOAD,
    build_payload,
    export_requirements,
    fetch_wheels,
    locked_requirements,
    uv_version,
    write_install_lists,
)
from infra.converge import playbooks_folder
from infra.drivers.lab.images import RECIPES, ensure_image
from infra.errors import YiyunError
from infra.paths import cache_root, cold

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from infra.bundle.lists import PackageList
    from infra.drivers.lab.commands import Progress

PACKED = "payload"
"""Folder of the wheel's package `infra` that holds the workspace (pyproject.toml)."""
FORMAT = "3"
"""Part of the inputs: raise it when the layout of the bundle changes."""
IMAGE = "debian-13"
SOURCES = ("app", "device_gateway", "backup_agent")
FRESH = "YIYUN_FRESH_BUNDLE"
"""Set once this process tree has built a cold bundle, so that a cold run builds it once."""
MIN_FREE_BYTES = 2 << 30
"""Packages, their copy in the bundle, and room for apt's indexes."""
_FILES: TypeAdapter[list[LockedFile]] = TypeAdapter(list[LockedFile])


def source_root() -> Path:
    """The workspace of the payload's sources: this checkout, or the copy of it that the wheel carries."""
    here = Path(infra.__file__).resolve().parent
    return here / PACKED if (here / PACKED).is_dir() else here.parent


def input_hash(root: Path) -> str:
    """Hash of everything the bundle is made from: package lists, locked dependencies, payload sources."""
    digest = hashlib.sha256(f"{FORMAT} {RECIPES[IMAGE].digest}\n".encode())
    digest.update(_lists_text(package_lists(playbooks_folder())).encode())
    for path in _inputs(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)} {content}\n".encode())
    return digest.hexdigest()[:16]


def _inputs(root: Path) -> Iterator[Path]:
    yield root / "uv.lock"
    for name in SOURCES:
        yield root / name / "pyproject.toml"
        found = (root / name / "src").rglob("*")
        yield from sorted(p for p in found if p.is_file() and "__pycache__" not in p.parts)


def build_bundle(progress: Progress) -> Bundle:
    """The bundle of this yiyun, from the cache when it is whole.

    Killed at any moment, the next call goes on from the last complete stage.
    Raises YiyunError when no registry answers or the disk is too small.
    """
    root = source_root()
    inputs = input_hash(root)
    folder = bundles_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, progress):
        path, fresh = folder / inputs, cold() and os.environ.get(FRESH) != inputs
        if not fresh and is_whole(path):
            return Bundle(path, read_lock(path))
        _check_space(folder)
        bundle = _build(root, folder, inputs, progress, fresh=fresh or path.exists())
        os.environ[FRESH] = inputs
        return bundle


@contextmanager
def alone(folder: Path, progress: Progress) -> Generator[None]:
    """Hold the bundles' lock, and say so when another run has it."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("bundle: another run is building one; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def bundles_folder() -> Path:
    """Where bundles are kept, each in a folder called by the hash of its inputs."""
    return cache_root() / "bundles"


def is_whole(path: Path) -> bool:
    """Whether every file of a bundle is there in its size. `verify` reads them all; this is quick."""
    if not (path / LOCK_NAME).is_file():
        return False
    return all(
        (path / f.path).is_file() and (path / f.path).stat().st_size == f.size for f in read_lock(path).files
    )


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise YiyunError(
            f"{folder}: {free >> 20} MiB free, a bundle needs {MIN_FREE_BYTES >> 20} MiB",
            hint="free some space, or point YIYUN_CACHE at a larger disk",
        )


def _build(root: Path, folder: Path, inputs: str, progress: Progress, *, fresh: bool) -> Bundle:
    lists = package_lists(playbooks_folder())
    needs = {name: locked_requirements(export_requirements(root, name)) for name in PAYLOAD}
    debs = _stage(
        folder,
        f"debs-{_hash(FORMAT, RECIPES[IMAGE].digest, _lists_text(lists))}",
        lambda half: _make_debs(lists, half, progress),
        fresh=fresh,
    )
    every = {r.line(): r for requirements in needs.values() for r in requirements}
    wheels = _stage(
        folder,
        f"wheels-{_hash(uv_version(), *sorted(every))}",
        lambda half: fetch_wheels(every.values(), uv_version(), half, progress),
        fresh=fresh,
    )
    half = folder / f"half-{inputs}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    for part in (debs / "debs", wheels / "wheels", wheels / "tools"):
        shutil.copytree(part, half / part.name, copy_function=os.link)
    build_payload(root, half / "wheels", progress)
    described = write_install_lists(half / "wheels", needs, half / "wheels")
    described += _FILES.validate_json((debs / "files.json").read_bytes())
    described.append(LockedFile(path="tools/uv", size=0, sha256="", package="uv", version=uv_version()))
    lock = write_lock(half, inputs, described)
    shutil.rmtree(folder / inputs, ignore_errors=True)
    half.replace(folder / inputs)
    bundle = Bundle(folder / inputs, lock)
    progress(f"bundle: {len(lock.files)} files, {bundle.bytes >> 20} MiB")
    return bundle


def _make_debs(lists: dict[str, PackageList], half: Path, progress: Progress) -> None:
    status = ensure_image(IMAGE, progress) / "var/lib/dpkg/status"
    files = fetch_debs(lists, status, half / "apt", half / "debs", progress)
    (half / "files.json").write_bytes(_FILES.dump_json(files))
    shutil.rmtree(half / "apt")


def _stage(folder: Path, name: str, make: Callable[[Path], None], *, fresh: bool) -> Path:
    done = folder / "stages" / name
    if done.is_dir() and not fresh:
        return done
    half = folder / "stages" / f"half-{name}"
    half.mkdir(parents=True, exist_ok=True)
    make(half)
    shutil.rmtree(done, ignore_errors=True)
    half.replace(done)
    return done


def _lists_text(lists: dict[str, PackageList]) -> str:
    return json.dumps({role: wanted.model_dump() for role, wanted in lists.items()}, sort_keys=True)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
