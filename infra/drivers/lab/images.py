"""Root file systems of lab machines, built by mmdebstrap and kept in the cache by a hash of their inputs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.drivers.lab.commands import Progress, failure_text, run
from infra.drivers.lab.mounts import unmount_below
from infra.engine.coldness import is_fresh
from infra.engine.parent import die_with_parent
from infra.errors import BadInputError, YiyunError
from infra.paths import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Recipe:
    """Everything an image is made of, apart from the mirror; its hash names the image in the cache."""

    packages: tuple[str, ...]
    remove: tuple[str, ...]
    """Paths below the root, shell patterns allowed, removed at the end."""
    files: tuple[tuple[str, str], ...]
    """(path below the root, content)."""
    mask: tuple[str, ...]
    """systemd units that make no sense in a lab machine."""
    suite: str = SUITE

    @property
    def digest(self) -> str:
        """Short hash of the inputs."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_LEAN = (
    ("etc/dpkg/dpkg.cfg.d/lean", "path-exclude=/usr/share/man/*\npath-exclude=/usr/share/info/*\n"),
    ("etc/apt/apt.conf.d/lean", 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n'),
)
_MIRROR = ("etc/apt/sources.list*", "etc/resolv.conf", "var/lib/apt/lists/*", "var/cache/apt/*.bin")
"""What speaks of the machine that built the image; hosts get packages from the estate's own depot."""
_UPDATED = ("etc/.updated", "var/.updated")
"""Marks of systemd-update-done: the first start need not rebuild caches that the build made."""
_SSHD = """\
# Keys only; the operators' keys are put there when the host is made.
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
MaxStartups 100:30:200
MaxSessions 100
"""

RECIPES: dict[str, Recipe] = {
    "debian-13": Recipe(
        packages=(
            *("systemd", "systemd-sysv", "dbus", "udev", "openssh-server", "sudo", "tzdata", "netbase"),
            *("python3", "python3-apt", "ca-certificates", "curl", "less", "procps", "kmod"),
            *("iproute2", "iputils-ping", "nftables", "wireguard-tools", "wireguard-go", "chrony"),
        ),
        remove=("etc/ssh/ssh_host_*", "etc/machine-id", "var/lib/dbus/machine-id", *_MIRROR),
        files=(
            *_LEAN,
            ("etc/ssh/sshd_config.d/10-yiyun.conf", _SSHD),
            (
                "etc/systemd/journald.conf.d/10-yiyun.conf",
                "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n",
            ),
            ("etc/timezone", "Asia/Shanghai\n"),
            ("etc/resolv.conf", ""),
            *((path, "") for path in _UPDATED),
        ),
        mask=(
            *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"),
            *("console-getty.service", "getty@.service", "systemd-networkd-wait-online.service"),
            *("systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
            *("systemd-udev-trigger.service", "sys-kernel-config.mount", "sys-kernel-debug.mount"),
        ),
    ),
    "appliance": Recipe(
        packages=("haproxy", "curl", "ca-certificates", "tzdata"),
        remove=("etc/machine-id", *_MIRROR),
        files=(*_LEAN, ("etc/timezone", "Asia/Shanghai\n")),
        mask=(),
    ),
}
"""`debian-13`: what a cloud's own image has. `appliance`: load balancer and object store."""


def ensure_image(name: str, progress: Progress) -> Path:
    """Root file system of that image, built when the cache has none.

    An image that hosts already stand on is never changed: a rebuild goes to a folder of its own.
    Raises BadInputError for an unknown name, YiyunError when there is no mirror or the build fails.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        known = ", ".join(sorted(RECIPES))
        raise BadInputError(f"the lab has no image {name}", hint=f"use one of {known} under images:")
    folder = image_folder(name, recipe.digest)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        newest = newest_build(folder)
        if newest is not None and is_fresh(newest):
            return newest / "rootfs"
        remove_half_built(folder)
        return _build(name, recipe, folder, progress) / "rootfs"


def image_folder(name: str, digest: str) -> Path:
    """Where builds of an image are kept."""
    return cache_root() / "images" / f"{name}-{digest}"


def adopt_image(name: str, digest: str, stamp: str, unpack: Callable[[Path], None]) -> bool:
    """Take over a build that was made elsewhere; False when it is here already.

    `unpack` fills the root file system's folder, which does not exist yet.
    """
    folder = image_folder(name, digest)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        complete = folder / f"build-{stamp}"
        if complete.is_dir():
            return False
        remove_half_built(folder)
        half = folder / f"half-{stamp}"
        half.mkdir()
        unpack(half / "rootfs")
        half.replace(complete)
    return True


def newest_build(folder: Path) -> Path | None:
    """The newest complete build of an image, or None."""
    return max(folder.glob("build-*"), default=None)


def remove_half_built(folder: Path) -> None:
    """Remove what interrupted builds left behind. Call it under the image's lock."""
    for path in folder.glob("half-*"):
        unmount_below(path)
        shutil.rmtree(path)


def _build(name: str, recipe: Recipe, folder: Path, progress: Progress) -> Path:
    if shutil.which("mmdebstrap") is None:
        raise YiyunError(
            "mmdebstrap is not installed", hint="apt-get install -y mmdebstrap debian-archive-keyring"
        )
    started = time.monotonic()
    progress(f"image {name}: building from Debian {recipe.suite}")
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    half, log = folder / f"half-{stamp}", folder / "build.log"
    half.mkdir()
    target = half / "rootfs"
    with log.open("wb") as stream:
        done = subprocess.run(
            mmdebstrap_command(recipe, debian_mirror(), target),
            stdout=stream,
            stderr=stream,
            check=False,
            preexec_fn=die_with_parent,
        )
    if done.returncode != 0:
        last = failure_text(log.read_text(encoding="utf-8", errors="replace"))
        raise YiyunError(
            f"image {name} could not be built: {last}",
            hint=f"see {log}; check that `apt-get update` works on this machine, then run again",
        )
    _finish(recipe, target)
    complete = folder / f"build-{stamp}"
    half.replace(complete)
    progress(f"image {name}: built in {time.monotonic() - started:.0f} s")
    return complete


def mmdebstrap_command(recipe: Recipe, mirror: str, target: Path) -> list[str]:
    """The command that builds a recipe's packages into `target`."""
    return [
        *("mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"),
        f"--include={','.join(recipe.packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        *((f"--keyring={KEYRING}",) if KEYRING.exists() else ()),
        *(recipe.suite, str(target), f"deb {mirror} {recipe.suite} main"),
    ]


def _finish(recipe: Recipe, root: Path) -> None:
    for pattern in recipe.remove:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, content in recipe.files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    localtime = root / "etc/localtime"
    localtime.unlink(missing_ok=True)
    localtime.symlink_to("/usr/share/zoneinfo/Asia/Shanghai")
    if not recipe.mask:
        return
    units = root / "etc/systemd/system"
    for unit in recipe.mask:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
    (root / "var/log/journal").mkdir(exist_ok=True)


def debian_mirror() -> str:
    """URI of the Debian mirror this machine's own apt uses. Raises YiyunError when it has none."""
    fields = "$(CREATED_BY)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    listing = run(["apt-get", "indextargets", "--format", fields], check=False).stdout
    mirror = next(mirrors_in(listing), None)
    if mirror is None:
        raise YiyunError(
            "this machine's apt has no Debian mirror, so no image can be built",
            hint="configure a Debian mirror in /etc/apt/sources.list.d, run `apt-get update`, then again",
        )
    return mirror


def mirrors_in(listing: str) -> Iterator[str]:
    """Debian mirrors in the output of `apt-get indextargets`, in its order."""
    for line in listing.splitlines():
        created_by, component, origin, label, uri = line.split("|")
        if (created_by, component, origin, label) == ("Packages", "main", "Debian", "Debian"):
            yield uri


def image_digest_of(rootfs: Path) -> str:
    """Name of the image folder a root file system belongs to (to see which recipe a host stands on)."""
    return os.path.basename(rootfs.parent.parent)  # noqa: PTH119  a name, not a path
