"""What this machine really has, beside a lab's records: rules, machines, buckets. Reads only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from infra.drivers.lab import fabric, hosts
from infra.drivers.lab.buckets import bucket_differences
from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.names import qualified
from infra.drivers.lab.topology import plan_topology
from infra.engine.changes import Change
from infra.provider.differences import PropertyChange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.drivers.lab.bucket_settings import Differences
    from infra.drivers.lab.desired import Desired
    from infra.drivers.lab.hosts import Container
    from infra.paths import EstatePaths

_READERS = 4


def lab_drift(paths: EstatePaths) -> list[Change]:
    """How this machine differs from the records of a lab."""
    desired = read_desired(paths)
    if desired.empty:
        return []
    found = hosts.containers(paths.estate)
    changes = list(machine_changes(desired, found))
    with ThreadPoolExecutor(_READERS) as pool:
        routers = fabric.routers(desired)
        differing = pool.map(partial(fabric.rule_differences, desired), routers)
        for router, found_there in zip(routers, differing, strict=True):
            changes += rule_changes(router, found_there)
    for store in desired.stores:
        machine = found.get(qualified(paths.estate, store.name))
        if machine is not None and machine.state == "running":
            changes += bucket_changes(bucket_differences(paths, desired, store, machine.pid))
    return changes


def machine_changes(desired: Desired, found: dict[str, Container]) -> Iterator[Change]:
    """Machines that do not run, or that have no record. Pure."""
    things = {n.thing for n in plan_topology(desired).namespaces} - set(fabric.routers(desired))
    for thing in sorted(things):
        container = found.get(qualified(desired.estate, thing))
        state = container.state if container else "absent"
        if state != "running":
            properties = (PropertyChange("state", "running", state),)
            yield Change(f"machine-{thing}", "Host", "update", properties, remedy="yiyun lab up")
    wanted = {qualified(desired.estate, thing) for thing in things}
    for name in sorted(set(found) - wanted):
        properties = (PropertyChange("state", None, found[name].state),)
        yield Change(name, "Host", "delete", properties, remedy="yiyun up")


def rule_changes(router: str, differing: fabric.RuleDifferences) -> Iterator[Change]:
    """Rules of one router, by the group whose chain they stand in. Pure."""
    chains = sorted({*differing.missing, *differing.surplus})
    for chain in chains:
        group = chain.removeprefix("sg-").rpartition("-")[0] if chain.startswith("sg-") else ""
        resource = f"securitygroup-{group}" if group else f"router-{router}"
        properties = (
            PropertyChange(
                f"{chain}.rules" if group else chain,
                differing.missing.get(chain, []),
                differing.surplus.get(chain, []),
            ),
        )
        yield Change(resource, "SecurityGroup", "update", properties, remedy="yiyun up")


def bucket_changes(differing: dict[str, Differences]) -> Iterator[Change]:
    """Buckets whose settings are not as recorded. Pure."""
    for name, properties in sorted(differing.items()):
        listed = tuple(PropertyChange(n, declared, actual) for n, (declared, actual) in properties.items())
        action = "create" if "exists" in properties else "update"
        yield Change(f"bucket-{name}", "Bucket", action, listed, remedy="yiyun up")
