"""`realise`: make this machine agree with a lab's records. Idempotent; safe to be killed and run again."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.drivers.lab import daemons, disks, fabric, hosts, netlink
from infra.drivers.lab.desired import Desired, read_desired
from infra.drivers.lab.images import ensure_image
from infra.drivers.lab.machines import Machine, host_machine
from infra.drivers.lab.names import prefix, qualified
from infra.drivers.lab.topology import plan_topology
from infra.errors import YiyunError
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from infra.drivers.lab.commands import Progress
    from infra.drivers.lab.hosts import Container


@dataclass(frozen=True)
class RealiseResult:
    """What a run changed, one short line each; empty when everything agreed already."""

    changed: tuple[str, ...]
    seconds: float = 0.0


def realise(paths: EstatePaths, progress: Progress, *, full: bool = True) -> RealiseResult:
    """Make the machine agree with the records: create, update, and remove what has no record any more.

    `full=False` makes the network only (namespaces, wires, rules), leaving machines as they are.
    Raises YiyunError with a next step when the machine cannot carry the lab.
    """
    started = time.monotonic()
    paths.ensure()
    paths.lab.mkdir(exist_ok=True, mode=0o700)
    with FileLock(paths.lab / "realise.lock"):
        desired = read_desired(paths)
        changed = _network(paths, desired)
        if full:
            changed += _machines(paths, desired, progress)
            changed += _helpers(paths, desired)
        changed += _surplus(paths, desired) if full else []
    return RealiseResult(tuple(changed), time.monotonic() - started)


def _network(paths: EstatePaths, desired: Desired) -> list[str]:
    topology = plan_topology(desired)
    begin = prefix(paths.estate)
    pids = {
        c.name.removeprefix(begin): c.pid
        for c in hosts.containers(paths.estate).values()
        if c.state in {"running", "paused"}
    }
    owner = fabric.owner(paths)
    changed = fabric.ensure_namespaces(topology, paths.estate, owner, pids)
    changed += fabric.install_rules(desired)
    changed += fabric.weave(topology, paths.estate)
    changed += fabric.limit_bandwidth(desired)
    return changed


def _machines(paths: EstatePaths, desired: Desired, progress: Progress) -> list[str]:
    found = hosts.containers(paths.estate)
    wanted = [(host, host_machine(host, disks.data_mounts(paths))) for host in desired.hosts]
    changed: list[str] = []
    stale = [m for _, m in wanted if _must_go(paths, desired, m, found.get(qualified(paths.estate, m.thing)))]
    if stale:
        progress(f"machines: replacing {', '.join(m.thing for m in stale)}")
        hosts.remove_containers(qualified(paths.estate, m.thing) for m in stale)
        changed += [f"{m.thing}: container removed" for m in stale]
        found = hosts.containers(paths.estate)
    for image in sorted({h.image for h in desired.hosts if not disks.merged(paths, h.name).exists()}):
        ensure_image(image, progress)
    attached = {d.disk for h in desired.hosts for d in h.disks}
    for disk in desired.disks:
        changed += disks.ensure_data_disk(paths, disk, disk.name in attached)
    for host, machine in wanted:
        changed += disks.ensure_system_disk(paths, host.name, machine.image, progress)
        changed += hosts.prepare(paths, host)
    return changed + _start(paths, [m for _, m in wanted], found, progress)


def _must_go(paths: EstatePaths, desired: Desired, machine: Machine, container: Container | None) -> bool:
    """A container that no longer fits: other limits, dead, without its disks, or a disk of it must grow."""
    if container is None:
        return False
    if container.state not in {"running", "paused"} or container.spec != machine.digest:
        return True
    if not disks.is_mounted(disks.merged(paths, machine.thing)):
        return True
    names = {outside.rpartition("/")[2] for outside, _, _ in machine.binds}
    return any(disks.needs_growth(paths, d) for d in desired.disks if d.name in names)


def _start(
    paths: EstatePaths, wanted: list[Machine], found: dict[str, Container], progress: Progress
) -> list[str]:
    missing = [m for m in wanted if qualified(paths.estate, m.thing) not in found]
    if not missing:
        return []
    progress(f"machines: starting {', '.join(m.thing for m in missing)}")
    owner = fabric.owner(paths)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda m: hosts.start(m, paths, owner), missing))
    systemd = [m.thing for m in missing if m.systemd]
    now = hosts.containers(paths.estate)
    for thing in systemd:
        container = now.get(qualified(paths.estate, thing))
        if container is None or container.state != "running":
            raise YiyunError(
                f"{thing} ended as soon as it began: {hosts.last_words(paths.estate, thing)}",
                hint="yiyun doctor checks what machines need here",
            )
        hosts.open_kernel_settings(container.pid)
    hosts.wait_until_up(paths.estate, systemd)
    return [f"{m.thing}: started" for m in missing]


def _helpers(paths: EstatePaths, desired: Desired) -> list[str]:
    doors = desired.settings.doors
    if not doors:
        return daemons.end(paths, "publisher")
    changed = daemons.ensure(paths, daemons.publisher(paths))
    if changed:
        daemons.wait_for_ports(paths, "publisher", tuple(d.listen for d in doors))
    return changed


def _surplus(paths: EstatePaths, desired: Desired) -> list[str]:
    """Remove what has no record any more."""
    topology = plan_topology(desired)
    things = {n.thing for n in topology.namespaces}
    names = {qualified(paths.estate, t) for t in things}
    stray = sorted(set(hosts.containers(paths.estate)) - names)
    hosts.remove_containers(stray)
    changed = [f"{n}: container removed" for n in stray]
    for thing in hosts.known_system_disks(paths):
        if thing not in things:
            disks.forget_system_disk(paths, thing)
            changed.append(f"{thing}: system disk removed")
    for name in fabric.owned_namespaces(paths.estate, fabric.owner(paths)):
        if name not in names:
            netlink.delete(name)
            changed.append(f"{name}: namespace removed")
    recorded = {d.name for d in desired.disks}
    for disk in disks.known_data_disks(paths):
        if disk not in recorded:
            disks.forget_data_disk(paths, disk)
            changed.append(f"disk {disk}: removed")
    return changed


def leftovers(estate: str) -> list[str]:
    """Everything on this machine that belongs to an estate and lives outside its state folder's plain files."""
    paths = EstatePaths(estate)
    found = [f"container {name}" for name in sorted(hosts.containers(estate))]
    found += [f"namespace {name}" for name in fabric.owned_namespaces(estate, fabric.owner(paths))]
    found += [f"mount {where}" for where in disks.mount_points(paths.lab)]
    found += [f"loop device {device}" for device in disks.loop_devices(paths.lab)]
    found += [f"process {name}" for name in daemons.NAMES if daemons.running(paths, name)]
    return found


def stop(paths: EstatePaths, progress: Progress) -> RealiseResult:
    """End everything that runs and unmount everything; disks and records stay."""
    started = time.monotonic()
    if not paths.lab.exists():
        return RealiseResult(())
    with FileLock(paths.lab / "realise.lock"):
        changed = daemons.end(paths, "publisher")
        names = sorted(hosts.containers(paths.estate))
        if names:
            progress(f"machines: stopping {len(names)}")
            hosts.remove_containers(names)
            changed += [f"{n}: stopped" for n in names]
        for name in fabric.owned_namespaces(paths.estate, fabric.owner(paths)):
            netlink.delete(name)
            changed.append(f"{name}: namespace removed")
        changed += disks.unmount_below(paths.lab)
    return RealiseResult(tuple(changed), time.monotonic() - started)


def remove(paths: EstatePaths, progress: Progress) -> RealiseResult:
    """Remove everything this lab made on this machine, its disks too. Records are the engine's and stay."""
    result = stop(paths, progress)
    if paths.lab.exists():
        shutil.rmtree(paths.lab)
        return RealiseResult((*result.changed, "disks removed"), result.seconds)
    return result
