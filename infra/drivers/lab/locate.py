"""Where a lab's things are on this machine: for drills, probes and people."""

from __future__ import annotations

from infra.drivers.lab.hosts import run_in_host
from infra.drivers.lab.names import qualified
from infra.drivers.lab.netlink import RUN_NETNS

__all__ = ["container_of", "netns_of", "netns_path", "run_in_host"]


def netns_of(estate: str, thing: str) -> str:
    """Network namespace of a thing: a host, a VPC, a site, `inet`, `lb-NAME`, `s3-REGION`."""
    return qualified(estate, thing)


def netns_path(estate: str, thing: str) -> str:
    """File of that namespace, for setns and nsenter."""
    return str(RUN_NETNS / qualified(estate, thing))


def container_of(estate: str, thing: str) -> str:
    """Name of a host's or appliance's container."""
    return qualified(estate, thing)
