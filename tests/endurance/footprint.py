"""Everything a lab has on this machine, as a value that can be compared with a clean run's."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

from infra.drivers.lab import daemons, mounts
from infra.drivers.lab.hosts import containers
from infra.drivers.lab.names import prefix

if TYPE_CHECKING:
    from infra.paths import EstatePaths

Footprint = dict[str, list[str]]
COUNTED = re.compile(r"packets \d+ bytes \d+")
"""Counters live; rules are compared without them."""


def footprint(paths: EstatePaths) -> Footprint:
    """What exists of an estate: containers, namespaces, rules, mounts, disks, buckets, processes, locks."""
    spaces = _namespaces(paths)
    return {
        "containers": sorted(f"{c.name} {c.state}" for c in containers(paths.estate).values()),
        "namespaces": spaces,
        "rules": [f"{n}: {line}" for n in spaces for line in _rules(n)],
        "links": [f"{n}: {line}" for n in spaces for line in _links(n)],
        "mounts": sorted({str(p) for p in mounts.mount_points(paths.lab)}),
        "loops": sorted(_images(paths)),
        "disks": sorted(p.name for p in (paths.lab / "disks").glob("*")),
        "buckets": sorted(p.name for p in (paths.lab / "objectstore").glob("*/objects/*")),
        "records": sorted(str(p.relative_to(paths.records)) for p in paths.records.rglob("*.json")),
        "processes": [name for name in daemons.NAMES if daemons.running(paths, name)],
        "engine locks": [p.name for p in (paths.pulumi / ".pulumi/locks").rglob("*.json")],
        "pending": _pending(paths),
    }


def difference(clean: Footprint, now: Footprint) -> list[str]:
    """What one has and the other has not, one line each."""
    lines: list[str] = []
    for kind in clean:
        was, found = set(clean[kind]), set(now[kind])
        lines += [f"{kind}: orphan {x}" for x in sorted(found - was)]
        lines += [f"{kind}: missing {x}" for x in sorted(was - found)]
    return lines


def _lines(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def _namespaces(paths: EstatePaths) -> list[str]:
    names = (line.split()[0] for line in _lines("ip", "netns", "list"))
    return sorted(n for n in names if n.startswith(prefix(paths.estate)))


def _rules(namespace: str) -> list[str]:
    listed = _lines("ip", "netns", "exec", namespace, "nft", "--stateless", "list", "ruleset")
    return sorted(COUNTED.sub("", line).strip() for line in listed if line.strip())


def _links(namespace: str) -> list[str]:
    listed = json.loads("".join(_lines("ip", "-n", namespace, "-j", "addr", "show")))
    return sorted(
        f"{link['ifname'].partition('@')[0]} {a['local']}/{a['prefixlen']}"
        for link in listed
        for a in link["addr_info"]
        if a["family"] == "inet"
    )


def _images(paths: EstatePaths) -> list[str]:
    """Names of disk images behind loop devices: the devices' own numbers change."""
    found = mounts.loop_devices(paths.lab)
    return [line.strip() for d in found for line in _lines("losetup", "-n", "-O", "BACK-FILE", d)]


def _pending(paths: EstatePaths) -> list[str]:
    operations: list[str] = []
    for checkpoint in (paths.pulumi / ".pulumi/stacks").rglob("*.json"):
        state = json.loads(checkpoint.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
        operations += [p["resource"]["urn"] for p in state.get("pending_operations") or []]
    return operations
