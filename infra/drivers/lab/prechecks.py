"""What a lab needs of this machine, told before the long part: each a sentence and a next step."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.drivers.lab import daemons, disks, hosts
from infra.drivers.lab.names import qualified
from infra.errors import Problem, YiyunError
from infra.paths import cache_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.drivers.lab.desired import Desired
    from infra.paths import EstatePaths

PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
}
"""Program → Debian package."""
FREE_DISK_GIB = 6
"""Images (0.5), packages and data of ten hosts after a converge run."""
MEMORY_SHARE = 0.45
"""Hosts use about this share of their limits at most (measured on the reference estate); limits overlap."""
INOTIFY_INSTANCES_A_HOST = 24
"""inotify instances of one systemd machine with its services; the kernel counts them per user."""
KERNEL = {
    "overlay": "/proc/filesystems",
    "ext4": "/proc/filesystems",
}


class MachineUnfitError(YiyunError):
    """The machine cannot carry the lab; every reason at once."""

    code = "machine-unfit"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        message = "; ".join(p.message for p in problems)
        super().__init__(message, hint="; ".join(p.hint for p in problems))


def precheck(paths: EstatePaths, desired: Desired) -> None:
    """Raises MachineUnfitError with every reason why this machine cannot carry the lab."""
    problems = [*machine_problems(), *_capacity_problems(paths, desired), *_port_problems(paths, desired)]
    if problems:
        raise MachineUnfitError(problems)
    raise_kernel_limits(len(desired.hosts))


def machine_problems() -> list[Problem]:
    """What this machine lacks, whatever the estate: for `doctor` too."""
    problems: list[Problem] = []
    if os.geteuid() != 0:
        problems.append(
            Problem("", "a lab makes namespaces, mounts and containers, which takes root", "use sudo")
        )
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        problems.append(
            Problem("", f"not installed: {', '.join(missing)}", f"apt-get install -y {' '.join(missing)}")
        )
    known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    problems += [
        Problem("", f"the kernel has no {name}", f"modprobe {name}") for name in KERNEL if name not in known
    ]
    problems += [
        Problem("", f"{device} is missing", f"modprobe {Path(device).name}")
        for device in ("/dev/net/tun", "/dev/fuse")
        if not Path(device).exists()
    ]
    return problems


def _capacity_problems(paths: EstatePaths, desired: Desired) -> Iterator[Problem]:
    found = hosts.containers(paths.estate) if shutil.which("podman") else {}
    new = [h for h in desired.hosts if qualified(paths.estate, h.name) not in found]
    wanted = int(sum(h.memory_mib for h in new) * MEMORY_SHARE)
    free = psutil.virtual_memory().available // disks.MIB
    if wanted > free:
        yield Problem(
            "",
            f"the hosts need about {wanted} MiB of memory and {free} MiB are free",
            "lower lab.memory_scale",
        )
    fresh = [h for h in new if not disks.system_image(paths, h.name)]
    for folder, needed in ((paths.root, FREE_DISK_GIB), (cache_root(), 2)):
        left = shutil.disk_usage(_existing(folder)).free / 2**30
        if fresh and left < needed:
            yield Problem(
                "",
                f"{folder} has {left:.1f} GiB free and a lab needs {needed}",
                "free some, or set YIYUN_STATE",
            )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _port_problems(paths: EstatePaths, desired: Desired) -> Iterator[Problem]:
    if not desired.hosts:
        return
    process = daemons.running(paths, daemons.PUBLISHER)
    ours = daemons.listening_ports(process) if process else set[int]()
    for door in desired.settings.doors:
        if door.listen not in ours and not _free(door.listen):
            yield Problem(
                "",
                f"port {door.listen} of 127.0.0.1, where the lab's {door.name} is published, is taken",
                f"end what listens there (ss -ltnp 'sport = :{door.listen}'), "
                f"or choose another under lab.published.{door.name}",
            )


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def kernel_limits(hosts_wanted: int) -> dict[Path, int]:
    """Kernel limits that many systemd machines on one kernel need, by their file: at least these."""
    everywhere = 4 * hosts_wanted  # several labs live side by side
    return {
        Path("/proc/sys/fs/inotify/max_user_instances"): max(1024, INOTIFY_INSTANCES_A_HOST * everywhere),
        Path("/proc/sys/fs/inotify/max_user_watches"): 262144,
        Path("/proc/sys/kernel/keys/maxkeys"): 2000,
    }


def raise_kernel_limits(hosts_wanted: int) -> list[str]:
    """Raise (never lower) the kernel's limits until the next reboot; `realise` does so each time."""
    changed: list[str] = []
    for file, wanted in kernel_limits(hosts_wanted).items():
        if file.exists() and int(file.read_text(encoding="ascii")) < wanted:
            file.write_text(str(wanted), encoding="ascii")
            changed.append(f"{file.name}={wanted}")
    return changed
