"""The lab hosts' own MySQL server and router, unpacked from the bundle, for tests without a lab.

`python -m tests.mysqld PROGRAM` (one of `PROGRAMS`) prints the path of one that runs on this machine whatever
its Debian is: it brings its own loader and libraries, of the hosts' image and the bundle.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.bundle.build import IMAGE, build_bundle
from infra.drivers.lab.commands import run
from infra.drivers.lab.images import ensure_image
from infra.paths import cache_root

if TYPE_CHECKING:
    from pathlib import Path

    from infra.bundle.model import Bundle
    from infra.drivers.lab.commands import Progress

ROLES = frozenset({"mysql", "db_router", "backup", "object_copy"})
"""Whose packages are unpacked."""
BASE = "--basedir={0}/usr --lc-messages-dir={0}/usr/share/mysql"
PROGRAMS = {
    "mysqld": ("usr/sbin", BASE),
    "haproxy": ("usr/sbin", ""),
    "mysqlbinlog": ("usr/bin", ""),
    "mysqldump": ("usr/bin", ""),
    "mysql": ("usr/bin", ""),
    "restic": ("usr/bin", ""),
    "rclone": ("usr/bin", ""),
}
"""Program → where it is, and what it must be told, with the folder it was unpacked to."""
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"


def ensure_program(name: str, progress: Progress) -> Path:
    """One of `PROGRAMS`, of the bundle's version. Raises YiyunError when bundle or image cannot be had."""
    bundle, image = build_bundle(progress), ensure_image(IMAGE, progress)
    folder = cache_root() / "test-mysqld" / bundle.lock.inputs
    program = folder / name
    with FileLock(cache_root() / "test-mysqld.lock"):
        if not program.exists():
            progress("unpacking the bundle's MySQL server and router")
            for other in folder.parent.glob("*"):
                if other != folder:  # this one may have all but a program that is new in the list
                    shutil.rmtree(other, ignore_errors=True)
            _unpack(bundle, folder / "root")
            for made in PROGRAMS:
                (folder / made).write_text(_script(made, folder / "root", image), encoding="utf-8")
                (folder / made).chmod(0o755)
    return program


def _unpack(bundle: Bundle, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for file in bundle.lock.files:
        if ROLES & set(file.roles) and file.path.endswith(".deb"):
            run(["dpkg-deb", "--extract", str(bundle.path / file.path), str(root)])


def _script(name: str, root: Path, image: Path) -> str:
    libraries = f"{root / LIBRARIES}:{image / LIBRARIES}"
    loader = next(p for p in (root / LOADER, image / LOADER) if p.exists())
    place, told = PROGRAMS[name]
    program, told = root / place / name, told.format(root)
    return (
        "#!/bin/sh\n# The caller's first options (--no-defaults) must stay first.\n"
        f'exec {loader} --library-path {libraries} {program} "$@" {told}\n'
    )


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "mysqld"
    print(ensure_program(wanted, lambda text: print(text, file=sys.stderr)))  # noqa: T201  its result
