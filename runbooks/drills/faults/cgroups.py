"""A host's control group on this machine: where the kernel limits all of a host's processes at once.

Both versions: 1, where each controller has a tree of its own, and 2, where one tree has them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from infra.drivers.lab.hosts import containers
from infra.drivers.lab.names import qualified
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbooks.drills.faults.tool import Place

MOUNTS = Path("/proc/self/mountinfo")
CONTAINER = "libpod-"
"""What podman's groups begin with; below it are the host's own."""


@dataclass(frozen=True)
class Group:
    """A control group: its folder, and by which version's names its files go."""

    folder: Path
    version: Literal[1, 2]


def group_of(mounts: str, membership: str, controller: str) -> Group | None:
    """The container's group for a controller; None when no tree has it. Pure.

    `mounts`: a mountinfo (proc(5)); `membership`: a `/proc/PID/cgroup` (cgroups(7)).
    """
    paths = _paths(membership)
    two: Group | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        where, (kind, _, options) = Path(before.split(" ")[4]), after.split(" ", 2)
        if kind == "cgroup" and controller in options.split(",") and controller in paths:
            return Group(where / paths[controller], 1)
        if kind == "cgroup2" and "" in paths:
            two = Group(where / paths[""], 2)
    return two


def _paths(membership: str) -> dict[str, str]:
    """Controller (empty: version 2) → path of the container's own group, relative to its tree."""
    found: dict[str, str] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        parts = path.strip("/").split("/")
        ours = [n for n, part in enumerate(parts, 1) if part.startswith(CONTAINER)]
        for name in controllers.split(","):
            found[name] = "/".join(parts[: ours[-1]] if ours else parts)
    return found


def host_group(place: Place, host: str, controller: str) -> Group:
    """A running (or frozen) host's group. Raises YiyunError when it does not run or the kernel has none."""
    container = containers(place.paths.estate).get(qualified(place.paths.estate, host))
    if container is None or not container.alive:
        raise YiyunError(f"{host} is not running", hint=f"yiyun lab up --estate {place.paths.estate}")
    membership = Path(f"/proc/{container.pid}/cgroup").read_text(encoding="utf-8")
    found = group_of(MOUNTS.read_text(encoding="utf-8"), membership, controller)
    if found is None:
        raise cannot(f"no control group of {controller}")
    return found


def runs(place: Place, host: str) -> bool:
    """Whether a host has processes, be they frozen. One that was started anew has a new group."""
    container = containers(place.paths.estate).get(qualified(place.paths.estate, host))
    return container is not None and container.alive


def read(group: Group, name: str) -> str:
    """Content of a group's file. Raises YiyunError when the kernel has no such limit."""
    try:
        return (group.folder / name).read_text(encoding="ascii").strip()
    except OSError as error:
        raise cannot(f"{name}: {error.strerror}") from None


def write(group: Group, values: Mapping[str, str]) -> None:
    """Write files of a group, one after another. Raises YiyunError when the kernel refuses."""
    for name, value in values.items():
        try:
            (group.folder / name).write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            raise cannot(f"{name} = {value}: {error.strerror}") from None


def cannot(what: str) -> YiyunError:
    """The error of a kernel that lacks what a fault needs."""
    return YiyunError(
        f"this machine's kernel cannot do it ({what})",
        hint="this drill needs control groups of blkio (or io) and memory; run it on another machine",
    )
