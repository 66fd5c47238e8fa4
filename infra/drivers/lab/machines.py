"""What a lab machine is started with: a container on an overlay of ours. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from infra.drivers.lab.names import balancer_thing, qualified

if TYPE_CHECKING:
    from pathlib import Path

    from infra import resources as kinds

SPEC_LABEL = "yiyun.spec"
ESTATE_LABEL = "yiyun.estate"
OWNER_LABEL = "yiyun.owner"

APPLIANCE = "appliance"
"""Image of load balancers and object stores."""
HOST_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_NICE", "IPC_LOCK", "AUDIT_WRITE")
"""All hosts: nftables inside (NET_ADMIN), ping, a server's priorities and locked buffers, sshd's audit."""
JOURNAL = "/var/log/journal"
"""Podman lays a tmpfs over it in every container with systemd; a host's journal must outlive a restart."""
OPTIONAL_CAPABILITIES = {"tun": (), "fuse": ("SYS_ADMIN",)}
OPTIONAL_DEVICES = {"tun": "/dev/net/tun", "fuse": "/dev/fuse"}


@dataclass(frozen=True)
class Machine:
    """One container: a host with systemd, or an appliance with one program."""

    thing: str
    image: str
    hostname: str
    memory_mib: int
    init: tuple[str, ...]
    systemd: bool = False
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    binds: tuple[tuple[str, str, str], ...] = ()
    """(path on this machine, path inside, `rw` or `ro`)."""

    @property
    def digest(self) -> str:
        """Short hash of everything that takes a new container to change."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def host_machine(host: kinds.Host, mounts: Path) -> Machine:
    """The container of a host; its data disks are mounted below `mounts`/DISK."""
    extra = [c for wanted in host.capabilities for c in OPTIONAL_CAPABILITIES.get(wanted, ())]
    devices = [OPTIONAL_DEVICES[c] for c in host.capabilities if c in OPTIONAL_DEVICES]
    return Machine(
        thing=host.name,
        image=host.image,
        hostname=host.name,
        memory_mib=host.memory_mib,
        init=("/sbin/init",),
        systemd=True,
        capabilities=(*HOST_CAPABILITIES, *extra),
        devices=tuple(devices),
        binds=tuple((str(mounts / d.disk), d.mount, "rw") for d in host.disks),
    )


def balancer_machine(balancer: kinds.LoadBalancer, folder: Path, certificates: Path) -> Machine:
    """The container of a load balancer: HAProxy as master and worker, its configuration in `folder`."""
    return Machine(
        thing=balancer_thing(balancer.name),
        image=APPLIANCE,
        hostname=balancer_thing(balancer.name),
        memory_mib=256,
        init=("/usr/sbin/haproxy", "-W", "-db", "-S", "/balancer/master.sock", "-f", "/balancer/haproxy.cfg"),
        binds=((str(folder), "/balancer", "rw"), (str(certificates), "/certificates", "ro")),
    )


def store_machine(store: kinds.ObjectStore, certificate: str, folder: Path, binary: Path) -> Machine:
    """The container of a region's object store. Its keys come from files, never by argument.

    `certificate`: short hash of its leaf, so that a renewed one takes a new container.
    """
    script = (
        f": leaf {certificate}; set -a; . /store/keys.env; set +a; exec /versitygw --quiet "
        f"--port :{store.port} --region {store.region} --cert /store/tls.pem --key /store/tls.pem "
        "--iam-dir /store/accounts --iam-cache-disable --keep-alive "
        "posix --versioning-dir /store/versions /store/objects"
    )
    return Machine(
        thing=store.name,
        image=APPLIANCE,
        hostname=store.name,
        memory_mib=512,
        init=("/bin/sh", "-c", script),
        binds=((str(folder), "/store", "rw"), (str(binary), "/versitygw", "ro")),
    )


def run_command(machine: Machine, estate: str, owner: str, rootfs: Path) -> list[str]:
    """The podman command that starts a machine in its prepared network namespace.

    runc, because crun refuses a hybrid cgroup tree; limits given, because CAP_SYS_RESOURCE may be missing
    (lab-facts). Names are resolved by the host's own files, so podman must not lay its own over them.
    """
    name = qualified(estate, machine.thing)
    command = ["podman", "--runtime", "runc", "run", "--detach", "--name", name]
    command += ["--hostname", machine.hostname, f"--network=ns:/run/netns/{name}", "--no-hosts", "--dns=none"]
    command += [f"--label={ESTATE_LABEL}={estate}", f"--label={OWNER_LABEL}={owner}"]
    command += [f"--label={SPEC_LABEL}={machine.digest}", "--log-driver=k8s-file", "--log-opt=max-size=4mb"]
    command += [f"--memory={machine.memory_mib}m", "--pids-limit=8192", "--stop-timeout=20"]
    command += ["--ulimit=nofile=20000:20000", "--ulimit=nproc=30000:30000"]
    command += [f"--systemd={'always' if machine.systemd else 'false'}"]
    if machine.systemd:
        command += [f"--volume={rootfs}{JOURNAL}:{JOURNAL}:rw"]
    command += [f"--cap-add={c}" for c in machine.capabilities]
    command += [f"--device={d}" for d in machine.devices]
    command += [f"--volume={outside}:{inside}:{mode}" for outside, inside, mode in machine.binds]
    return [*command, "--rootfs", str(rootfs), *machine.init]
