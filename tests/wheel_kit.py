"""The toolkit as a user installs it: a wheel in an environment of its own, the checkout out of reach."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from infra.paths import cache_root, state_root

ROOT = Path(__file__).parents[1]
HIDDEN = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
"""Run in a mount namespace of its own: an empty file system lies over the checkout ($0)."""


@dataclass(frozen=True)
class Installed:
    """An environment that holds the built wheel, and an empty home."""

    python: Path
    home: Path

    def run(self, *words: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `yiyun` from an empty folder with the checkout inaccessible; caches are this machine's."""
        given = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "YIYUN_CACHE": str(cache_root()),
            "YIYUN_STATE": str(self.home / "state"),
            **environment,
        }
        argv = [str(self.python.with_name("yiyun")), *words]
        hide = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", HIDDEN, str(ROOT)]
        return subprocess.run(
            [*hide, *argv],
            cwd=self.home,
            env=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def run_on_lab(self, *words: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """As `run`, over the estates that the checkout brought up."""
        return self.run(*words, seconds=seconds, YIYUN_STATE=str(state_root()))


def install_wheel(folder: Path) -> Installed:
    """Build the wheel through the source distribution, as for a release; install it with locked versions."""
    environment = {**os.environ, "VIRTUAL_ENV": ""}
    _uv(["build", "--quiet", "--out-dir", str(folder / "dist"), str(ROOT)], environment)
    wheel = next((folder / "dist").glob("yiyun-*.whl"))
    locked = folder / "locked.txt"
    options = ["--frozen", "--no-dev", "--no-emit-workspace", "--no-hashes", "--project", str(ROOT)]
    _uv(["export", "--quiet", "--package", "yiyun", *options, "--output-file", str(locked)], environment)
    place = folder / "environment"
    base = os.path.realpath(sys.executable)
    _uv(["venv", "--quiet", "--python", base, str(place)], environment)
    python = place / "bin" / "python"
    _uv(
        ["pip", "install", "--quiet", "--python", str(python), "--constraint", str(locked), str(wheel)],
        environment,
    )
    home = folder / "home"
    home.mkdir()
    return Installed(python, home)


def _uv(arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [find_uv_bin(), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
