"""A machine that the lab's provider did not make, plugged into the lab's network by its owner.

It stands on the lab's image and overlay, but under another name of its own: no record, no label, no
namespace of the lab's. Its wire hangs on the VPC's router beside the lab's own (`ext-…`, not `to-…`).
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import resources as kinds
from infra.drivers.lab import disks, hosts, mounts, netlink
from infra.drivers.lab.commands import run
from infra.drivers.lab.machines import Machine, host_machine
from infra.drivers.lab.names import GATEWAY, HOST_INTERFACE, qualified
from infra.paths import EstatePaths, state_root

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.harness import Lab

OWNER = "customer"
NAME = "app-3"
ADDRESS = "10.20.1.60"
USER = "admin"


@dataclass(frozen=True)
class Foreign:
    """The machine, its owner's key, and the estate file that takes it into the lab's estate."""

    paths: EstatePaths
    key: Path
    estate: Path

    @property
    def root(self) -> Path:
        """Its root file system."""
        return disks.merged(self.paths, NAME)

    @property
    def data(self) -> Path:
        """Its data disk, as this machine sees it."""
        return disks.data_mounts(self.paths) / f"{NAME}-data"

    @property
    def container(self) -> hosts.Container | None:
        """Its container, if it is there."""
        return hosts.containers(OWNER).get(qualified(OWNER, NAME))

    @property
    def host_key(self) -> str:
        """What its console would show."""
        return hosts.host_public_keys(self.paths)[NAME]


def build(lab: Lab, folder: Path) -> Foreign:
    """Make the machine and the estate file. Nothing of the lab is touched but its router, by a wire."""
    paths = EstatePaths(OWNER, state_root() / "tests-foreign").ensure()
    key = folder / "owner"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    disk = kinds.Disk(name=f"{NAME}-data", size_gib=1, size_mib=256, zone="")
    record = _record(lab)
    mounts.share(paths.root)
    disks.ensure_data_disk(paths, disk, attached=True)
    disks.ensure_system_disk(paths, NAME, "debian-13", lambda _: None)
    hosts.prepare(paths, record)
    machine = host_machine(record, disks.data_mounts(paths))
    _admin(disks.merged(paths, NAME), key.with_suffix(".pub").read_text(encoding="ascii"))
    _plug(lab)
    hosts.start(machine, paths, OWNER)
    _settle(paths, machine)
    estate = folder / "with-foreign.yaml"
    foreign = Foreign(paths, key, estate)
    write_estate(lab, foreign)
    return foreign


def write_estate(lab: Lab, foreign: Foreign, *, host_key: bool = False) -> None:
    """The lab's estate with this machine in it."""
    pinned = f", host_key: {foreign.host_key}" if host_key else ""
    foreign.estate.write_text(
        f"estate: {lab.estate.estate}\nextends: {lab.source.resolve()}\nhosts:\n"
        f"  - name: {NAME}\n    provider: existing\n    subnet: app\n    address: {ADDRESS}\n"
        "    roles: [app]\n"
        f"    disks: [{{size_gib: 1}}]\n    ssh: {{user: {USER}, key_file: {foreign.key}{pinned}}}\n",
        encoding="utf-8",
    )


def remove(foreign: Foreign) -> None:
    """The owner takes the machine away."""
    hosts.remove_containers([qualified(OWNER, NAME)])
    mounts.unmount_below(foreign.paths.root)
    netlink.delete(qualified(OWNER, NAME))
    shutil.rmtree(foreign.paths.root)


def _record(lab: Lab) -> kinds.Host:
    return kinds.Host(
        name=NAME,
        type="",
        vcpu=0,
        memory_mib=1024,
        image="debian-13",
        network=lab.estate.vpc.name,
        subnet="app",
        zone="",
        address=ADDRESS,
        extra_addresses=[],
        security_group="",
        disks=[kinds.AttachedDisk(disk=f"{NAME}-data", mount="/data")],
        capabilities=["fuse"],
        authorized_key="",
        domain="customer.example",
    )


def _admin(root: Path, public_key: str) -> None:
    """An account of its owner's, by key, with sudo, as cloud images have one. Root lets nobody in."""
    enter = ["chroot", str(root)]
    run([*enter, "useradd", "--create-home", "--shell", "/bin/bash", USER])
    folder = root / f"home/{USER}/.ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text(public_key, encoding="ascii")
    run([*enter, "chown", "-R", f"{USER}:{USER}", f"/home/{USER}/.ssh"])
    (root / f"etc/sudoers.d/{USER}").write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n", encoding="ascii")


def _plug(lab: Lab) -> None:
    name, router = qualified(OWNER, NAME), qualified(lab.estate.estate, lab.estate.vpc.name)
    port = f"ext-{NAME}"
    netlink.create(name, OWNER)
    far = ["ip", "netns", "exec", name]
    near = ["ip", "netns", "exec", router]
    run(
        [
            "ip",
            "-n",
            router,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            HOST_INTERFACE,
            "netns",
            name,
        ]
    )
    run([*far, "ip", "addr", "add", f"{ADDRESS}/24", "dev", HOST_INTERFACE])
    run([*far, "ip", "link", "set", HOST_INTERFACE, "up"])
    run([*far, "ip", "route", "add", "default", "via", GATEWAY, "dev", HOST_INTERFACE, "onlink"])
    run([*near, "ip", "link", "set", port, "up"])
    run([*near, "ip", "route", "add", f"{ADDRESS}/32", "dev", port])
    for key, value in ((f"conf/{port}/proxy_arp", 1), (f"neigh/{port}/proxy_delay", 0)):
        run([*near, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{key}"])


def _settle(paths: EstatePaths, machine: Machine) -> None:
    container = hosts.containers(OWNER)[qualified(OWNER, NAME)]
    hosts.open_up(container.pid)
    hosts.wait_until_up(OWNER, [machine.thing])
    subprocess.run(hosts.enter_command(container.pid, ["systemctl", "is-active", "ssh"]), check=True)
