"""Names and fixed addresses of a lab on this machine: one place, so that every module agrees."""

from __future__ import annotations

import hashlib

INTERNET = "inet"
"""The internet: operators' machine and browsers' clients live here."""
UPLINK = "inet"
"""A router's interface to the internet."""
HOST_INTERFACE = "eth0"
GATEWAY = "169.254.1.1"
"""Next hop of every host and appliance; each router holds it on its loopback."""
INTERNET_GATEWAY = "169.254.0.1"
"""Next hop of every router."""
ROUTER_UPLINK = "169.254.2.1"
"""A router's address on its uplink, next hop of the internet's routes to it."""
OPERATOR = "198.51.100.100"
"""The operators' machine (RFC 5737 documentation range) when the estate names none."""

MAX_INTERFACE_NAME = 15
"""IFNAMSIZ of the kernel, less the closing zero."""


def prefix(estate: str) -> str:
    """What every namespace and container of an estate begins with."""
    return f"yy-{estate}-"


def qualified(estate: str, thing: str) -> str:
    """Name of a thing's network namespace and container on this machine."""
    return f"{prefix(estate)}{thing}"


def balancer_thing(name: str) -> str:
    """Thing of a load balancer."""
    return f"lb-{name}"


def port_name(thing: str) -> str:
    """Interface of a router that leads to a thing; unique, at most 15 characters."""
    name = f"to-{thing}"
    if len(name) <= MAX_INTERFACE_NAME:
        return name
    return f"to-{thing[:7]}-{hashlib.sha256(thing.encode()).hexdigest()[:4]}"
