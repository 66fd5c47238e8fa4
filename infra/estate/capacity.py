"""Sizes of hosts and their sum. Pure."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from pydantic import BaseModel
from ruamel.yaml import YAML

from infra.estate.model import Capacity

if TYPE_CHECKING:
    from infra.estate.model import Estate, Host

PREMISES_MEMORY_MIB = 1024
"""Memory of a premises host in the lab; outside the lab it is what the hospital has."""
LAB_SYSTEM_MIB = 192
"""What systemd, sshd and journald of a lab host need before any service (measured: 60–90 MiB)."""
LAB_RESTORE_MIB = 448
"""A database server that a restore runs, beside a repository that is read: neither shrinks with its host."""


class _Types(BaseModel):
    types: dict[str, Capacity]


@cache
def instance_types() -> dict[str, Capacity]:
    """Size (vCPU, GiB) of every known instance type; source and date stand in the data file."""
    text = resources.files("infra.estate").joinpath("instance_types.yaml").read_text(encoding="utf-8")
    return dict(_Types.model_validate(YAML(typ="safe").load(text)).types)


def size_of(host: Host) -> Capacity:
    """Size of a cloud host. Raises KeyError for an unknown type."""
    return instance_types()[host.type]


def total(estate: Estate) -> Capacity:
    """Sum over the cloud hosts the provider makes. Raises KeyError for an unknown type."""
    sizes = [size_of(host) for host in estate.cloud_hosts if not host.exists]
    return Capacity.model_construct(
        vcpu=sum(s.vcpu for s in sizes), memory_gib=sum(s.memory_gib for s in sizes)
    )


def lab_memory_mib(estate: Estate, host: Host) -> int:
    """Memory limit of a host in the lab: its size scaled down, plus what does not shrink with it."""
    if host.subnet is None:
        return PREMISES_MEMORY_MIB
    restores = LAB_RESTORE_MIB if "ops" in host.roles else 0
    return LAB_SYSTEM_MIB + restores + round(size_of(host).memory_gib * 1024 * estate.lab.memory_scale)


def memory_mib(estate: Estate, host: Host) -> int:
    """Memory a host has, as its estate says; 0 for a machine that exists already and is of no known type."""
    if estate.provider == "lab" and not host.exists:
        return lab_memory_mib(estate, host)
    known = instance_types().get(host.type)
    return round(known.memory_gib * 1024) if known else 0


def lab_disk_mib(estate: Estate, size_gib: int) -> int:
    """Size of a data disk in the lab, sparse: scaled down, at least 1 GiB."""
    return max(1024, round(size_gib * 1024 * estate.lab.disk_scale))
