"""The lab members' own MySQL server, unpacked from the bundle, for the platform's tests.

`python -m tests.mysqld` prints the path of a `mysqld` that runs on this machine whatever its Debian is: it
brings its own loader and libraries, those of the hosts' image and of the bundle.
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

ROLE = "mysql"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"


def ensure_mysqld(progress: Progress) -> Path:
    """A `mysqld` of the bundle's version. Raises YiyunError when bundle or image cannot be had."""
    bundle, image = build_bundle(progress), ensure_image(IMAGE, progress)
    folder = cache_root() / "test-mysqld" / bundle.lock.inputs
    program = folder / "mysqld"
    with FileLock(cache_root() / "test-mysqld.lock"):
        if not program.exists():
            progress("unpacking the bundle's MySQL server")
            shutil.rmtree(folder.parent, ignore_errors=True)
            _unpack(bundle, folder / "root")
            program.write_text(_script(folder / "root", image), encoding="utf-8")
            program.chmod(0o755)
    return program


def _unpack(bundle: Bundle, root: Path) -> None:
    root.mkdir(parents=True)
    for file in bundle.lock.files:
        if ROLE in file.roles and file.path.endswith(".deb"):
            run(["dpkg-deb", "--extract", str(bundle.path / file.path), str(root)])


def _script(root: Path, image: Path) -> str:
    libraries = f"{root / LIBRARIES}:{image / LIBRARIES}"
    loader = next(p for p in (root / LOADER, image / LOADER) if p.exists())
    where = f"--basedir={root / 'usr'} --lc-messages-dir={root / 'usr/share/mysql'}"
    return (
        "#!/bin/sh\n# The caller's first options (--no-defaults) must stay first.\n"
        f'exec {loader} --library-path {libraries} {root / "usr/sbin/mysqld"} "$@" {where}\n'
    )


if __name__ == "__main__":
    print(ensure_mysqld(lambda text: print(text, file=sys.stderr)))  # noqa: T201  its result
