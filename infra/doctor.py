"""What this machine must have before the long part begins. Each lack is named with how to get it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.errors import BadInputError
from infra.estate.capacity import lab_memory_mib
from infra.estate.plan import provisioned_hosts
from infra.paths import cache_root, state_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client",
}
"""Program → Debian package."""
DISK_GIB = 12
"""Measured: images 0.5, bundle 0.5, engine build 4, hosts and data disks 3, and room to work."""
MEMORY_SHARE = 0.6
"""Hosts stay well below their limits (measured); below this share of the limits' sum a lab swaps or dies."""
FEATURES = {
    "overlay": "overlayfs",
    "cgroup": "control groups",
}
"""Entry of /proc/filesystems → what it is."""


@dataclass(frozen=True)
class Finding:
    """One prerequisite: whether it is met, and how to get it."""

    name: str
    ok: bool
    found: str
    remedy: str

    def as_json(self) -> dict[str, object]:
        """An entry of `findings`."""
        return {
            "name": self.name,
            "ok": self.ok,
            "found": self.found,
            "remedy": "" if self.ok else self.remedy,
        }


def examine(estate: Estate, paths: EstatePaths) -> list[Finding]:
    """Every prerequisite of running this estate on this machine."""
    findings = [*_programs(), *_machine(estate, paths)]
    if estate.provider == "lab":
        findings += [*_kernel(), *_ports(estate, paths)]
    return findings


def require_machine(estate: Estate, paths: EstatePaths) -> None:
    """Raise BadInputError naming the first lack and how many more there are."""
    lacks = [f for f in examine(estate, paths) if not f.ok]
    if lacks:
        more = f", and {len(lacks) - 1} more (yiyun doctor)" if len(lacks) > 1 else ""
        raise BadInputError(f"{lacks[0].name}: {lacks[0].found}{more}", hint=lacks[0].remedy)


def _programs() -> Iterator[Finding]:
    for program, package in PROGRAMS.items():
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        yield Finding(program, path is not None, path or "not installed", f"apt-get install -y {package}")


def _machine(estate: Estate, paths: EstatePaths) -> Iterator[Finding]:
    yield Finding(
        "root",
        os.geteuid() == 0,
        f"user id {os.geteuid()}",
        "run it as root: a lab makes namespaces and mounts",
    )
    for name, folder in (("cache disk", cache_root()), ("state disk", state_root())):
        free = shutil.disk_usage(_existing(folder)).free / 2**30
        need = 1 if paths.records.exists() else DISK_GIB
        yield Finding(
            name,
            free >= need,
            f"{free:.0f} GiB free under {folder}",
            f"free {need} GiB, or set YIYUN_CACHE and YIYUN_STATE",
        )
    if estate.provider == "lab" and not paths.records.exists():
        limits = sum(lab_memory_mib(estate, h) for h in provisioned_hosts(estate))
        need_mib = limits * MEMORY_SHARE
        free_mib = psutil.virtual_memory().available / 2**20
        yield Finding(
            "memory",
            free_mib >= need_mib,
            f"{free_mib / 1024:.1f} GiB available, {need_mib / 1024:.1f} needed",
            "free memory, or lower lab.memory_scale in the estate file",
        )


def _kernel() -> Iterator[Finding]:
    known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    for entry, name in FEATURES.items():
        yield Finding(
            name, entry in known, "present" if entry in known else "absent", f"a kernel with {name}"
        )
    tun = Path("/dev/net/tun").exists()
    yield Finding(
        "tun device", tun, "present" if tun else "absent", "modprobe tun: the encrypted line needs it"
    )
    answer = (
        subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
        if shutil.which("nft")
        else None
    )
    ok = answer is not None and answer.returncode == 0
    yield Finding("nftables", ok, "usable" if ok else "not usable", "a kernel with nftables, and root")


def _ports(estate: Estate, paths: EstatePaths) -> Iterator[Finding]:
    if paths.records.exists():
        return
    for name, port in estate.lab.published.model_dump().items():
        free = _is_free(port)
        yield Finding(
            f"port {port}",
            free,
            "free" if free else "127.0.0.1 has it taken by another program",
            f"end that program, or set lab.published.{name} in an estate file that extends this one",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)
