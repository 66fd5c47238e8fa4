"""`realise`: make this machine agree with a lab's records. Idempotent; safe to be killed and run again."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.drivers.lab import (
    balancer,
    buckets,
    daemons,
    disks,
    fabric,
    guests,
    hosts,
    lodging,
    mounts,
    netlink,
    objectstore,
    s3,
)
from infra.drivers.lab.desired import Desired, read_desired
from infra.drivers.lab.images import ensure_image
from infra.drivers.lab.machines import Machine, balancer_machine, host_machine, store_machine
from infra.drivers.lab.names import INTERNET, prefix, qualified
from infra.drivers.lab.objectstore_binary import ensure_objectstore_binary
from infra.drivers.lab.prechecks import precheck
from infra.drivers.lab.settings import read_settings
from infra.drivers.lab.topology import backbone_address, plan_topology, public_addresses
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
        lodging.forget_gone(paths)
        desired = read_desired(paths)
        precheck(paths, desired)
        if full:
            _images(paths, desired, progress)
        changed = _network(paths, desired)
        if full:
            mounts.share(paths.lab)
            changed += _machines(paths, desired, progress)
            changed += _helpers(paths, desired)
            changed += _surplus(paths, desired)
    return RealiseResult(tuple(changed), time.monotonic() - started)


def _images(paths: EstatePaths, desired: Desired, progress: Progress) -> None:
    """Build what machines without a system disk will stand on: the long part, before anything is touched."""
    wanted = {h.image for h in desired.hosts if not disks.system_image(paths, h.name)}
    if desired.balancers or desired.stores:
        wanted.add("appliance")
    if desired.stores:
        ensure_objectstore_binary(progress)
    for image in sorted(wanted):
        ensure_image(image, progress)


def _network(paths: EstatePaths, desired: Desired) -> list[str]:
    topology = plan_topology(desired)
    begin = prefix(paths.estate)
    pids = {c.name.removeprefix(begin): c.pid for c in hosts.containers(paths.estate).values() if c.alive}
    changed = fabric.ensure_namespaces(topology, paths.estate, fabric.owner(paths), pids)
    if desired.settings.home:
        changed += _stand_on(desired)
    changed += fabric.install_rules(desired)
    changed += fabric.weave(topology, paths.estate)
    changed += fabric.limit_bandwidth(desired)
    return changed


def _machines(paths: EstatePaths, desired: Desired, progress: Progress) -> list[str]:
    of_hosts = [host_machine(host, disks.data_mounts(paths)) for host in desired.hosts]
    appliances, versions, accesses = _appliances(paths, desired, progress)
    wanted = [*of_hosts, *appliances]
    changed = _remove_unfit(paths, desired, wanted, progress)
    attached = {d.disk for h in desired.hosts for d in h.disks}
    for disk in desired.disks:
        changed += disks.ensure_data_disk(paths, disk, attached=disk.name in attached)
    for machine in wanted:
        changed += disks.ensure_system_disk(paths, machine.thing, machine.image, progress)
    for host in desired.hosts:
        changed += hosts.prepare(paths, host)
    started, opened = _start(paths, wanted, progress)
    changed += [f"{thing}: started" for thing in started]
    changed += [f"{thing}: opened" for thing in opened if thing not in started]
    changed += _settle_balancers(paths, versions, started)
    return changed + _settle_stores(paths, desired, accesses, started)


def _appliances(
    paths: EstatePaths, desired: Desired, progress: Progress
) -> tuple[list[Machine], dict[str, str], list[s3.StoreAccess]]:
    """Machines of balancers and stores, the versions of the balancers' files, and the stores' keys."""
    versions = {b.name: balancer.prepare(paths, desired, b.name) for b in desired.balancers}
    machines = [
        balancer_machine(b, balancer.folder(paths, b.name), balancer.certificates(paths))
        for b in desired.balancers
    ]
    accesses = [objectstore.prepare(paths, desired, store) for store in desired.stores]
    if accesses:
        binary = ensure_objectstore_binary(progress)
        machines += [
            store_machine(
                s,
                objectstore.certificate_digest(paths, s),
                objectstore.folder(paths, s.region),
                binary,
            )
            for s in desired.stores
        ]
    return machines, versions, accesses


def _remove_unfit(
    paths: EstatePaths, desired: Desired, wanted: list[Machine], progress: Progress
) -> list[str]:
    found = hosts.containers(paths.estate)
    stale = [m for m in wanted if _must_go(paths, desired, m, found.get(qualified(paths.estate, m.thing)))]
    if not stale:
        return []
    progress(f"machines: replacing {', '.join(m.thing for m in stale)}")
    hosts.remove_containers(qualified(paths.estate, m.thing) for m in stale)
    for machine in stale:
        disks.detach(paths, machine)
    return [f"{m.thing}: container removed" for m in stale]


def _must_go(paths: EstatePaths, desired: Desired, machine: Machine, container: Container | None) -> bool:
    """A container that no longer fits: other limits, dead, without its disks, or a disk of it must grow."""
    if container is None:
        return False
    if not container.alive or container.spec != machine.digest:
        return True
    if not mounts.is_mounted(disks.merged(paths, machine.thing)):
        return True
    names = {outside.rpartition("/")[2] for outside, _, _ in machine.binds}
    return any(disks.needs_growth(paths, d) for d in desired.disks if d.name in names)


def _start(paths: EstatePaths, wanted: list[Machine], progress: Progress) -> tuple[list[str], list[str]]:
    """Start what is missing, and open every host that is not open: new, or left so by a run that was killed.

    Returns the started machines and the opened ones.
    """
    found = hosts.containers(paths.estate)
    missing = [m for m in wanted if qualified(paths.estate, m.thing) not in found]
    if missing:
        found = _launch(paths, missing, progress)
    running = {m.thing: found[qualified(paths.estate, m.thing)] for m in wanted if m.systemd}
    pids = {thing: container.pid for thing, container in running.items() if container.alive}
    closed = [thing for thing, pid in pids.items() if not hosts.is_open(pid)]
    for thing in closed:
        hosts.open_up(pids[thing])
    if closed:
        hosts.wait_until_up(paths.estate, closed)
    return [m.thing for m in missing], closed


def _launch(paths: EstatePaths, missing: list[Machine], progress: Progress) -> dict[str, Container]:
    """Start machines; all containers afterwards. Raises YiyunError when one ended at once."""
    progress(f"machines: starting {', '.join(m.thing for m in missing)}")
    owner = fabric.owner(paths)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [pool.submit(hosts.start, machine, paths, owner) for machine in missing]:
            done.result()
    now = hosts.containers(paths.estate)
    for machine in missing:
        container = now.get(qualified(paths.estate, machine.thing))
        if container is None or not container.alive:
            raise YiyunError(
                f"{machine.thing} ended as soon as it began: {hosts.last_words(paths.estate, machine.thing)}",
                hint="yiyun doctor checks what machines need here",
            )
    return now


def _settle_balancers(paths: EstatePaths, versions: dict[str, str], started: list[str]) -> list[str]:
    changed: list[str] = []
    for name, version in versions.items():
        if f"lb-{name}" in started:
            balancer.wait_until_up(paths, name)
        elif balancer.loaded_version(paths, name) != version:
            balancer.reload(paths, name)
            changed.append(f"lb-{name}: reloaded")
        else:
            continue
        balancer.note_version(paths, name, version)
    return changed


def _settle_stores(
    paths: EstatePaths, desired: Desired, accesses: list[s3.StoreAccess], started: list[str]
) -> list[str]:
    if not accesses:
        return []
    changed: list[str] = []
    now = hosts.containers(paths.estate)
    for access in accesses:
        pid = now[qualified(paths.estate, access.name)].pid
        if access.name in started:
            s3.wait_until_up(access, pid)
        changed += buckets.ensure_buckets(paths, desired, access, pid)
    return changed


def _helpers(paths: EstatePaths, desired: Desired) -> list[str]:
    doors = desired.settings.doors
    if not desired.hosts or not doors:
        return daemons.end(paths, daemons.PUBLISHER)
    changed = daemons.ensure(paths, daemons.publisher(paths))
    if changed:
        daemons.wait_for_ports(paths, daemons.PUBLISHER, tuple(d.listen for d in doors))
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


def leftovers(estate: str) -> tuple[str, ...]:
    """Everything on this machine that belongs to an estate apart from plain files of its state."""
    paths = EstatePaths(estate)
    found = [f"container {name}" for name in sorted(hosts.containers(estate))]
    found += [f"namespace {name}" for name in fabric.owned_namespaces(estate, fabric.owner(paths))]
    found += [f"mount {where}" for where in mounts.mount_points(paths.lab)]
    found += [f"loop device {device}" for device in mounts.loop_devices(paths.lab)]
    found += [f"process {name}" for name in daemons.NAMES if daemons.running(paths, name)]
    return tuple(found)


def stop(paths: EstatePaths, progress: Progress) -> tuple[str, ...]:
    """End everything that runs and unmount everything; disks and records stay. Returns what was done."""
    if not paths.lab.exists():
        return ()
    with FileLock(paths.lab / "realise.lock"):
        changed = daemons.end(paths, daemons.PUBLISHER)
        names = sorted(hosts.containers(paths.estate))
        if names:
            progress(f"machines: stopping {len(names)}")
            hosts.remove_containers(names)
            changed += [f"{n}: stopped" for n in names]
        for name in fabric.owned_namespaces(paths.estate, fabric.owner(paths)):
            netlink.delete(name)
            changed.append(f"{name}: namespace removed")
        changed += mounts.unmount_below(paths.lab)
    if home := read_settings(paths).home:
        changed += _leave(paths, home, progress)
    return tuple(changed)


def _stand_on(desired: Desired) -> list[str]:
    """Wire each VPC's router to the internet of the lab that this one stands on, and be known there."""
    changed: list[str] = []
    home = desired.settings.home
    for vpc in desired.vpcs:
        known = (*public_addresses(desired, vpc.name).keys(), backbone_address(vpc, desired))
        guest = guests.Guest(estate=desired.estate, router=vpc.name, addresses=known)
        changed += [f"{vpc.name}: on {home}"] if lodging.join(guest, home) else []
    if changed:
        realise(EstatePaths(home), lambda _: None, full=False)
    return changed


def _leave(paths: EstatePaths, home: str, progress: Progress) -> list[str]:
    """The lab that this one stood on forgets it; a lab that does not run forgets by itself."""
    other = EstatePaths(home)
    guests.forget(other, paths.estate)
    if read_desired(other).empty or not netlink.exists(qualified(home, INTERNET)):
        return []
    return [f"{home}: {change}" for change in realise(other, progress, full=False).changed]


def remove(paths: EstatePaths, progress: Progress) -> tuple[str, ...]:
    """Remove everything this lab made on this machine, its disks too. Records are the engine's and stay."""
    changed = stop(paths, progress)
    if not paths.lab.exists():
        return changed
    shutil.rmtree(paths.lab)
    return (*changed, "disks removed")


def forget(paths: EstatePaths) -> None:
    """Remove the estate's whole state folder. Call it after `remove`, when records and keys may go too."""
    if mounts.mount_points(paths.root):
        raise YiyunError(f"{paths.root} still has mounts below it", hint="remove the lab first")
    if paths.root.exists():
        shutil.rmtree(paths.root)
