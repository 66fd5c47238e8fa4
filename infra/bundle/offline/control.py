"""What the control machine itself installs from: yiyun's wheel, its locked dependencies, system packages."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import infra
from infra.bundle.debs import write_repository
from infra.bundle.offline.model import Part
from infra.bundle.wheels import (
    Interpreter,
    build_payload,
    download_locked,
    export_requirements,
    locked_requirements,
    write_install_lists,
)
from infra.doctor import PROGRAMS
from infra.drivers.lab.commands import Progress, failure_text, follow
from infra.errors import BadInputError, YiyunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.bundle.model import LockedFile

FOLDER = "control"
TOOLKIT = "yiyun"
ALSO = (
    *("ca-certificates", "debian-archive-keyring", "python3", "tar", "xz-utils"),
    *("fonts-wqy-microhei", "libpangoft2-1.0-0"),
)
"""Packages beside those of `doctor` that yiyun's own running needs."""


def this_interpreter() -> Interpreter:
    """The control machine's Python and glibc: folders are built on a machine like the one they are for."""
    minor = platform.libc_ver()[1].partition(".")[2] or "17"
    return Interpreter(f"{sys.version_info.major}.{sys.version_info.minor}", int(minor))


def require_checkout() -> Path:
    """Folder of yiyun's own sources. Raises BadInputError outside a checkout, where no wheel can be built."""
    root = Path(infra.__file__).resolve().parents[1]
    if not (root / "uv.lock").is_file():
        raise BadInputError(
            "an offline bundle is built from a checkout, and this yiyun is installed from its wheel",
            hint="build it in a checkout of the same version; verify, use and list work here",
        )
    return root


def make_control(root: Path, half: Path, progress: Progress) -> tuple[Part, list[LockedFile]]:
    """Fill `half`/control. Raises YiyunError when a registry does not answer."""
    folder, whom = half / FOLDER, this_interpreter()
    needs = locked_requirements(export_requirements(root, TOOLKIT), whom)
    download_locked(needs, folder / "wheels", whom, progress)
    build_payload(root, folder / "wheels", progress, [TOOLKIT])
    details = write_install_lists(folder / "wheels", {TOOLKIT: needs}, folder / "wheels")
    release = debian_release()
    if release:
        details += fetch_system_packages(folder, progress)
    (folder / "packages").write_text("".join(f"{n}\n" for n in system_packages()), encoding="ascii")
    (folder / "release").write_text(f"{release}\n", encoding="ascii")
    (folder / "python").write_text(f"{whom.python}\n", encoding="ascii")
    script = folder / "install"
    script.write_text(
        resources.files("infra.bundle.offline").joinpath("install.sh").read_text(encoding="utf-8")
    )
    script.chmod(0o755)
    version = next(d.version for d in details if d.package == TOOLKIT)
    key = f"python{whom.python}-{release or 'no-debian'}-{platform.machine()}"
    part = Part(kind="control", name=TOOLKIT, version=version, key=key, path=FOLDER)
    return part, [d.model_copy(update={"path": f"{FOLDER}/{d.path}"}) for d in details]


def debian_release() -> str:
    """Code name of this machine's Debian; empty elsewhere."""
    if shutil.which("apt-get") is None:
        return ""
    return str(platform.freedesktop_os_release().get("VERSION_CODENAME", ""))


def system_packages() -> list[str]:
    """Names of the Debian packages a control machine must have."""
    return sorted({*PROGRAMS.values(), *ALSO})


def fetch_system_packages(folder: Path, progress: Progress) -> list[LockedFile]:
    """System packages with all they depend on, as a flat apt repository in `folder`/debs.

    Resolved against an empty machine, so that any machine of this release finds what it lacks.
    """
    work = folder / "apt"
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "status").touch()
    settings = {
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::State::extended_states": work / "extended_states",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",
    }
    (work / "apt.conf").write_text("".join(f'{k} "{v}";\n' for k, v in settings.items()), encoding="utf-8")
    _apt(work, ["update", "--error-on=any"], progress)
    _apt(work, ["install", "-y", "--download-only", "--no-install-recommends", *system_packages()], progress)
    found = {path.name: {FOLDER} for path in (work / "archives").glob("*.deb")}
    files = write_repository(work / "archives", found, [], folder / "debs")
    shutil.rmtree(work)
    return [f.model_copy(update={"roles": ()}) for f in files]


def _apt(work: Path, arguments: Sequence[str], progress: Progress) -> None:
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def tell(line: str) -> None:
        if line.startswith("Get:"):
            progress(f"system package {' '.join(line.split()[4:6])}")

    done = follow(["apt-get", *arguments], tell, environment=environment)
    if done.returncode != 0:
        raise YiyunError(
            f"apt could not fetch the control machine's packages: {failure_text(done.stdout)}",
            hint="check that `apt-get update` works on this machine, then run the same command again",
        )
