"""Python payload: our own wheels, their locked dependencies for the hosts' Python, and `uv`."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from uv import find_uv_bin

from infra.bundle.model import LockedFile, sha256_of
from infra.drivers.lab.commands import Progress, failure_text, follow
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

PAYLOAD = ("yiyun-app", "yiyun-gateway", "yiyun-backup")
EPOCH = "1767225600"
"""Time stamp inside our wheels (2026-01-01), so that equal sources give equal wheels."""
MARKERS = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "extra": "",
}


@dataclass(frozen=True)
class Interpreter:
    """Whom wheels are for: a CPython (`3.13`) on x86-64 Linux with glibc 2.`glibc_minor` or a newer one."""

    python: str
    glibc_minor: int

    @property
    def markers(self) -> dict[str, str]:
        """Values of environment markers. Only the minor version is known."""
        return {**MARKERS, "python_version": self.python, "python_full_version": f"{self.python}.5"}


HOSTS = Interpreter("3.13", 41)
"""The hosts' system, Debian 13: wheels for any older glibc will do."""


@dataclass(frozen=True)
class LockedRequirement:
    """One dependency as `uv.lock` has it: exact version, hashes of all its files."""

    name: str
    version: str
    hashes: tuple[str, ...]

    def line(self) -> str:
        """As a line of a requirements file."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={h}" for h in self.hashes)])


def locked_requirements(exported: str, whom: Interpreter = HOSTS) -> list[LockedRequirement]:
    """Parse the output of `uv export`, keeping what that Python needs."""
    joined = re.sub(r"\\\n\s*", " ", exported)
    found: list[LockedRequirement] = []
    for line in joined.splitlines():
        text, *hashes = line.split(" --hash=")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        requirement = Requirement(text.strip())
        if requirement.marker is None or requirement.marker.evaluate(whom.markers):
            version = str(requirement.specifier).removeprefix("==")
            hashes = [h.strip() for h in hashes]
            found.append(LockedRequirement(canonicalize_name(requirement.name), version, tuple(hashes)))
    return found


def export_requirements(root: Path, package: str) -> str:
    """Locked dependencies of one workspace member, with hashes."""
    options = ["--no-dev", "--no-emit-workspace", "--frozen", "--no-header", "--no-annotate"]
    command = ["export", "--package", package, "--format", "requirements-txt", *options]
    return _uv(command, root, f"the locked dependencies of {package} cannot be read")


def fetch_wheels(
    requirements: Iterable[LockedRequirement], uv_version: str, target: Path, progress: Progress
) -> None:
    """Download the wheels of all requirements, and `uv` as `tools/uv` beside them.

    Raises YiyunError when a package has no wheel for the hosts' Python, or no registry answers.
    """
    download_locked(requirements, target / "wheels", HOSTS, progress)
    _pip_download([f"uv=={uv_version}"], target / "uv", HOSTS, progress)
    _unpack_uv(target)


def download_locked(
    requirements: Iterable[LockedRequirement], wheels: Path, whom: Interpreter, progress: Progress
) -> None:
    """Download the wheels of all requirements; what is there already and fits is kept. Raises YiyunError."""
    wheels.mkdir(parents=True, exist_ok=True)
    unique = {r.name: r for r in requirements}
    listing = wheels.with_suffix(".txt")
    listing.write_text("".join(r.line() + "\n" for _, r in sorted(unique.items())), encoding="utf-8")
    _pip_download(["--require-hashes", "-r", str(listing)], wheels, whom, progress)
    listing.unlink()


def _unpack_uv(target: Path) -> None:
    wheel = next((target / "uv").glob("uv-*.whl"))
    tool = target / "tools" / "uv"
    tool.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
        with archive.open(name) as source, tool.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    shutil.rmtree(target / "uv")


def download_options(whom: Interpreter) -> list[str]:
    """Options by which pip chooses wheels for another Python, whatever Python runs it."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(whom.glibc_minor, 4, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    abi = f"cp{whom.python.replace('.', '')}"
    options = ["--no-deps", "--only-binary=:all:", "--python-version", whom.python, "--implementation", "cp"]
    options += [part for name in (abi, "abi3", "none") for part in ("--abi", name)]
    return options + [part for name in platforms for part in ("--platform", name)]


def _pip_download(what: list[str], target: Path, whom: Interpreter, progress: Progress) -> None:
    command = [find_uv_bin(), "tool", "run", "pip", "download", "--progress-bar=off"]
    command += download_options(whom)

    def tell(line: str) -> None:
        if line.startswith("Collecting "):
            progress(f"bundle: wheel {line.split()[1]}")

    done = follow([*command, "--dest", str(target), *what], tell)
    if done.returncode != 0:
        raise YiyunError(
            f"wheels could not be fetched: {failure_text(done.stdout)}",
            hint="check that `pip download pip` works on this machine, then run the same command again",
        )


def build_payload(root: Path, target: Path, progress: Progress, packages: Sequence[str] = PAYLOAD) -> None:
    """Build our own wheels from the workspace; equal sources give equal bytes."""
    for package in packages:
        progress(f"bundle: building {package}")
        command = ["build", "--wheel", "--quiet", "--package", package, "--out-dir", str(target)]
        _uv(command, root, f"{package} cannot be built")
    (target / ".gitignore").unlink(missing_ok=True)


def write_install_lists(
    wheels: Path, needs: dict[str, list[LockedRequirement]], target: Path
) -> list[LockedFile]:
    """Write `PACKAGE.txt` for each payload: exact versions with the hash of the very wheel that is there."""
    by_name = {canonicalize_name(parse_wheel_filename(p.name)[0]): p for p in sorted(wheels.glob("*.whl"))}
    for package, requirements in needs.items():
        names = sorted({package, *(r.name for r in requirements)})
        lines = [_pinned(by_name[canonicalize_name(name)]) for name in names]
        (target / f"{package}.txt").write_text("".join(lines), encoding="utf-8")
    return [_described(path) for path in by_name.values()]


def _pinned(wheel: Path) -> str:
    name, version, *_ = parse_wheel_filename(wheel.name)
    return f"{name}=={version} --hash=sha256:{sha256_of(wheel)}\n"


def _described(wheel: Path) -> LockedFile:
    name, version, *_ = parse_wheel_filename(wheel.name)
    path = f"wheels/{wheel.name}"
    return LockedFile(path=path, size=0, sha256="", package=str(name), version=str(version))


def uv_version() -> str:
    """Version of our own `uv`: hosts get the same."""
    said = subprocess.run([find_uv_bin(), "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def _uv(command: Sequence[str], root: Path, failure: str) -> str:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    argv = [find_uv_bin(), *command]
    done = subprocess.run(argv, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise YiyunError(
            f"{failure}: {failure_text(done.stderr)}", hint="run `uv sync --all-packages`, then again"
        )
    return done.stdout
