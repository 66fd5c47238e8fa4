"""Memory pressure: a host's limit lowered to what it holds and a little, and a process that takes that."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from infra.drivers.lab.disks import MIB
from infra.errors import YiyunError
from runbooks.drills.faults import cgroups
from runbooks.drills.faults.inside import must, said, unit_state, within
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbooks.drills.faults.cgroups import Group
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import MemoryPressure

LIMIT_SECONDS = 3600
"""The taker ends by itself after that, whatever became of its controller."""
FELT_SECONDS = 10
LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
USED = {1: "memory.usage_in_bytes", 2: "memory.current"}
REFUSED = {1: "memory.failcnt", 2: "memory.events"}
"""How often the limit was met; of version 2 the line `max` of it."""
FILES = {1: ("total_inactive_file", "total_active_file"), 2: ("inactive_file", "active_file")}
"""Lines of memory.stat: files in memory, which the kernel can drop."""


def _order(fault: MemoryPressure, place: Place) -> Order:
    group = _group(place, fault.host)
    name = LIMIT[group.version]
    return {
        "kind": fault.kind,
        "host": fault.host,
        "unit": _unit(place),
        "restore": {name: cgroups.read(group, name)},
    }


def _inject(fault: MemoryPressure, place: Place) -> None:
    group = _group(place, fault.host)
    now = {name: cgroups.read(group, name) for name in ("memory.stat", USED[group.version])}
    wanted = lowered(group.version, now, fault.left_mb)
    before = cgroups.read(group, LIMIT[group.version])
    if before != "max" and wanted >= int(before):
        raise YiyunError(f"{fault.host} has less than {fault.left_mb} MiB left already", hint="lower left_mb")
    _lower(group, wanted)
    # By the host's own systemd: what is only sent in from outside is not in the host's group.
    start = ["systemd-run", "--quiet", "--collect", f"--unit={_unit(place)}", "/usr/bin/python3", "-c"]
    program = resources.files("runbooks.drills.faults").joinpath("hog.py").read_text(encoding="utf-8")
    must(place, fault.host, [*start, program, str(fault.left_mb), str(LIMIT_SECONDS)])


def _bites(fault: MemoryPressure, place: Place) -> bool:
    """The limit must be met while one looks."""
    group = _group(place, fault.host)
    before = _met(group)
    return within(FELT_SECONDS, lambda: _met(group) > before)


def _undo(order: Order, place: Place) -> None:
    """The limit first: under it nothing else in the host is sure to get along."""
    host = str(order["host"])
    if not cgroups.runs(place, host):
        return  # it comes back under the limit of its record
    cgroups.write(_group(place, host), {str(k): str(v) for k, v in order["restore"].items()})
    said(place, host, ["systemctl", "stop", str(order["unit"])])


def _is_undone(order: Order, place: Place) -> bool:
    host = str(order["host"])
    if not cgroups.runs(place, host):
        return True
    group = _group(place, host)
    as_before = all(cgroups.read(group, str(k)) == str(v) for k, v in order["restore"].items())
    return as_before and unit_state(place, host, str(order["unit"])) in {"inactive", "failed"}


MEMORY_PRESSURE = Tool(_order, _inject, _bites, _undo, _is_undone)
"""A host short of memory: files are dropped and read anew; the taker is killed before anybody else."""


def lowered(version: int, now: Mapping[str, str], left_mb: int) -> int:
    """The limit, bytes, that leaves `left_mb` MiB beside what the host's processes hold. Pure.

    `now`: memory.stat and what is used, by file. Files in memory do not count: they can be dropped.
    """
    stat = dict(line.split(" ", 1) for line in now["memory.stat"].splitlines())
    files = sum(int(stat[name]) for name in FILES[version])
    return max(0, int(now[USED[version]]) - files) + left_mb * MIB


def times_met(version: int, text: str) -> int:
    """How often a limit was met, from the file that counts it. Pure."""
    if version == 1:
        return int(text)
    return int(dict(line.split(" ", 1) for line in text.splitlines())["max"])


@retry(
    retry=retry_if_exception_type(YiyunError), stop=stop_after_attempt(5), wait=wait_fixed(0.2), reraise=True
)
def _lower(group: Group, wanted: int) -> None:
    """Version 1 refuses while it has not yet dropped what is over the limit (EBUSY)."""
    cgroups.write(group, {LIMIT[group.version]: str(wanted)})


def _met(group: Group) -> int:
    return times_met(group.version, cgroups.read(group, REFUSED[group.version]))


def _group(place: Place, host: str) -> Group:
    return cgroups.host_group(place, host, "memory")


def _unit(place: Place) -> str:
    return f"yiyun-drill-memory-{place.mark}.service"
