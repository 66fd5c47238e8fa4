"""Faults of a data disk: no space left, or slow for every process of the host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.drivers.lab.disks import MIB, data_mounts
from infra.errors import YiyunError
from runbooks.drills.faults import cgroups
from runbooks.drills.faults.inside import holds, must, shell
from runbooks.drills.faults.targets import data_disk
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbooks.drills.faults.cgroups import Group
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import DiskFull, SlowDisk

SLACK_MB = 1
"""What a file system may give back after the filler was made, MiB."""
PROBE_SECONDS = 0.5
"""How long the write takes that shows that a disk is slow."""
FILL = """
at=0 piece=268435456
while [ $piece -ge 4096 ]; do
  while [ $((at + piece)) -le $1 ] && fallocate --offset $at --length $piece "$2" 2>/dev/null; do
    at=$((at + piece))
  done
  piece=$((piece / 4))
done
[ $at -gt 0 ] || { echo "nothing could be taken on the disk of $2" >&2; exit 1; }
"""
"""In pieces that get smaller: the host goes on writing meanwhile, and a file system needs some for itself."""
UNLIMITED = "rbps=max wbps=max riops=max wiops=max"


def _full_order(fault: DiskFull, place: Place) -> Order:
    mount = data_disk(place.estate, fault.host, fault.service).mount
    return {"kind": fault.kind, "host": fault.host, "filler": f"{mount}/.yiyun-drill-{place.mark}"}


def _full_inject(fault: DiskFull, place: Place) -> None:
    """The blocks are taken at once and never written: this machine's own disk does not fill with them."""
    order = _full_order(fault, place)
    size = filler_bytes(_free(place, fault), fault.left_mb)
    if size <= 0:
        raise YiyunError(f"{fault.host} has less than {fault.left_mb} MiB free already", hint="lower left_mb")
    must(place, fault.host, ["sh", "-c", FILL, "fill", str(size), str(order["filler"])])


def _full_bites(fault: DiskFull, place: Place) -> bool:
    return _free(place, fault) <= (fault.left_mb + SLACK_MB) * MIB


def _full_undo(order: Order, place: Place) -> None:
    must(place, str(order["host"]), ["rm", "-f", str(order["filler"])])


def _full_is_undone(order: Order, place: Place) -> bool:
    return not holds(place, str(order["host"]), ["test", "-e", str(order["filler"])])


DISK_FULL = Tool(_full_order, _full_inject, _full_bites, _full_undo, _full_is_undone)
"""A filler file takes what is free on a service's data disk, but for some MiB."""


def filler_bytes(free: int, left_mb: int) -> int:
    """Size of the filler that leaves `left_mb` MiB of `free` bytes; 0 when less is free already. Pure."""
    return max(0, free - left_mb * MIB)


def _free(place: Place, fault: DiskFull) -> int:
    """Bytes free on the disk, as its host sees it."""
    mount = data_disk(place.estate, fault.host, fault.service).mount
    return int(must(place, fault.host, ["df", "--block-size=1", "--output=avail", mount]).split()[-1])


def _slow_order(fault: SlowDisk, place: Place) -> Order:
    group, device = _group(place, fault.host), _device(place, fault)
    files = [name for name, _ in limits(group.version, device, 1, 1)]
    before = {name: cgroups.read(group, name) for name in dict.fromkeys(files)}
    return {
        "kind": fault.kind,
        "host": fault.host,
        "device": device,
        "restore": restore(group.version, device, before),
    }


def _slow_inject(fault: SlowDisk, place: Place) -> None:
    group = _group(place, fault.host)
    for name, value in limits(group.version, _device(place, fault), fault.bytes_s, fault.iops):
        cgroups.write(group, {name: value})


def _slow_bites(fault: SlowDisk, place: Place) -> bool:
    """A write past the cache must take the time that the limit gives it."""
    mount = data_disk(place.estate, fault.host, fault.service).mount
    block, count, seconds = probe_of(fault)
    file = f"{mount}/.yiyun-drill-{place.mark}-probe"
    write = f"dd if=/dev/zero of={file} bs={block} count={count} oflag=direct"
    # By the host's own systemd: what is only sent in from outside is in none of its groups.
    run = f"systemd-run --quiet --wait --pipe --collect --setenv=LC_ALL=C {write} 2>&1"
    took = seconds_of(shell(place, fault.host, f"{run}; rm -f {file}"))
    return took is not None and took >= seconds / 2


def _slow_undo(order: Order, place: Place) -> None:
    host = str(order["host"])
    if cgroups.runs(place, host):
        cgroups.write(_group(place, host), _texts(order["restore"]))


def _slow_is_undone(order: Order, place: Place) -> bool:
    host, wanted = str(order["host"]), _texts(order["restore"])
    if not cgroups.runs(place, host):
        return True
    group = _group(place, host)
    now = {name: cgroups.read(group, name) for name in wanted}
    return restore(group.version, str(order["device"]), now) == wanted


SLOW_DISK = Tool(_slow_order, _slow_inject, _slow_bites, _slow_undo, _slow_is_undone)
"""The kernel lets a host's processes use a disk only so fast: direct and synchronous reads and writes."""


def limits(version: int, device: str, bytes_s: int | None, iops: int | None) -> list[tuple[str, str]]:
    """(file, line) of a control group that slow a device (`MAJOR:MINOR`) both ways. Pure.

    Version 1: blkio.throttle.*; version 2: io.max (Linux admin guide, cgroup-v1/blkio-controller, cgroup-v2).
    """
    wanted = [("bps", bytes_s), ("iops", iops)]
    if version == 1:
        return [
            (f"blkio.throttle.{way}_{what}_device", f"{device} {amount}")
            for what, amount in wanted
            for way in ("read", "write")
            if amount is not None
        ]
    words = [f"{way}{what}={amount}" for what, amount in wanted for way in "rw" if amount is not None]
    return [("io.max", " ".join([device, *words]))]


def restore(version: int, device: str, before: Mapping[str, str]) -> dict[str, str]:
    """What to write so that a device is limited as it was `before` (content by file). Pure."""
    free = UNLIMITED if version == 2 else "0"
    return {
        name: f"{device} {next((line.split(' ', 1)[1] for line in _lines(text, device)), free)}"
        for name, text in before.items()
    }


def probe_of(fault: SlowDisk) -> tuple[int, int, float]:
    """(bytes a write, writes, seconds that they must take at least) of what shows that it bites. Pure."""
    if fault.iops is not None:
        count = max(4, int(fault.iops * PROBE_SECONDS))
        return 4096, count, count / fault.iops
    bytes_s = fault.bytes_s or 1
    count = max(2, int(bytes_s * PROBE_SECONDS / 65536))
    return 65536, count, count * 65536 / bytes_s


def seconds_of(said: str) -> float | None:
    """The time that `dd` says it took; None when it says none. Pure."""
    found = re.search(r"copied, ([0-9.e+-]+) s", said)
    return float(found[1]) if found else None


def device_of(mounts: str, where: str) -> str | None:
    """`MAJOR:MINOR` of what is mounted at a path, by a mountinfo (proc(5)). Pure."""
    escaped = where.replace(" ", r"\040")
    found = [line.split(" ")[2] for line in mounts.splitlines() if line.split(" ")[4] == escaped]
    return found[-1] if found else None


def _lines(text: str, device: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{device} ")]


def _group(place: Place, host: str) -> Group:
    return cgroups.host_group(place, host, "blkio")


def _device(place: Place, fault: SlowDisk) -> str:
    disk = data_disk(place.estate, fault.host, fault.service)
    where = (data_mounts(place.paths) / disk.name).resolve()
    found = device_of(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), str(where))
    if found is None:
        raise YiyunError(f"the disk {disk.name} is not mounted", hint="yiyun lab up")
    return found


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()}
