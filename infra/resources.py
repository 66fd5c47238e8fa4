"""Resource kinds: the vocabulary that the program, the provider and every driver share.

Inputs are plain JSON values, so that they cross the engine unchanged. Kinds and logical names are
promises: renaming one means delete and create.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PROTECTED_KINDS = frozenset({"Disk", "Bucket", "ElasticIp"})
"""Kinds that hold data or addresses: protected and retained; `destroy` leaves them unless named."""


class Inputs(BaseModel):
    """Inputs of one resource. `name` is the physical name, unique for its kind in the estate."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str


class Site(Inputs):
    """Premises: a network of their own behind one public address (lab only; elsewhere it exists)."""

    cidr: str
    internet_address: str
    operator_address: str = ""


class Vpc(Inputs):
    """A private network in a region."""

    region: str
    cidr: str


class Subnet(Inputs):
    """A range of a VPC."""

    vpc: str
    cidr: str


class Rule(BaseModel):
    """One permission of a security group. `peer` is a CIDR; ports are inclusive."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    direction: Literal["in", "out"]
    protocol: Literal["tcp", "udp"]
    port: int
    peer: str
    why: str


class SecurityGroup(Inputs):
    """Stateful, default drop in both directions. One a host."""

    network: str
    """Name of the VPC or site."""
    rules: list[Rule]


class Disk(Inputs):
    """A data disk."""

    size_gib: int
    size_mib: int
    """What the lab makes of it (sparse file)."""
    zone: str


class AttachedDisk(BaseModel):
    """Where a host mounts a disk."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    disk: str
    mount: str


class Host(Inputs):
    """A machine with one network card."""

    type: str
    vcpu: int
    memory_mib: int
    """Memory limit in the lab; the type decides in the cloud."""
    image: str
    network: str
    """Name of the VPC or site."""
    subnet: str
    zone: str
    address: str
    extra_addresses: list[str]
    """Further private addresses on the same card (a gateway's line address)."""
    security_group: str
    disks: list[AttachedDisk]
    capabilities: list[str]
    """What the lab must grant: `tun`, `fuse`."""
    authorized_key: str
    """Operators' public SSH key, put there at first boot (cloud: key pair)."""
    domain: str


class BandwidthPackage(Inputs):
    """Shared bandwidth of several elastic IPs."""

    mbps: int


class ElasticIp(Inputs):
    """A public address. `address` is given in the lab only."""

    address: str
    package: str
    target: str
    """Private address it stands for, one to one."""


class HealthCheck(BaseModel):
    """How a balancer finds out that a backend is well. Times in milliseconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str = "/healthz"
    interval_ms: int = 500
    timeout_ms: int = 1000
    fall: int = 2
    rise: int = 2


class Backend(BaseModel):
    """One target of a listener."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str
    address: str
    port: int


class LoadBalancer(Inputs):
    """A layer-7 load balancer with a private address and an elastic IP."""

    vpc: str
    subnet: str
    address: str
    elastic_ip: str


class Listener(Inputs):
    """A public port of a load balancer and where it forwards to, by HTTPS on both sides."""

    load_balancer: str
    port: int
    server_names: list[str]
    certificate: str
    """Name of the leaf in the estate's trust store; the key never enters the engine's state."""
    health: HealthCheck
    backends: list[Backend]


class ObjectStore(Inputs):
    """Object storage of a region: who may call it. Where the provider runs it, only the rules are ours."""

    region: str
    address: str
    """Given in the lab only."""
    port: int
    server_name: str
    certificate: str
    """Name of the leaf in the estate's trust store; the key never enters the engine's state."""
    rules: list[Rule]


class BucketAccess(BaseModel):
    """What an account of the object storage may do with a bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    account: str
    access: Literal["read", "add", "keep", "prune"]


class Bucket(Inputs):
    """A bucket of a region's object storage."""

    region: str
    versioned: bool
    object_lock_days: Annotated[int, Field(ge=0)]
    access: list[BucketAccess] = []
    """Everybody else is refused; the secret keys never enter the engine's state."""


class Tunnel(Inputs):
    """One path of the encrypted line: gateway ↔ peer, reached at an elastic IP."""

    gateway: str
    peer: str
    elastic_ip: str
    port: int
    gateway_address: str
    peer_address: str
    line_address: str
    """Second private address of the gateway: source of what comes over this path."""


KINDS: dict[str, type[Inputs]] = {
    kind.__name__: kind
    for kind in (
        Site,
        Vpc,
        Subnet,
        SecurityGroup,
        Disk,
        Host,
        BandwidthPackage,
        ElasticIp,
        LoadBalancer,
        Listener,
        ObjectStore,
        Bucket,
        Tunnel,
    )
}
"""Kind by name, in an order in which each comes after those it refers to."""

IMMUTABLE: dict[str, frozenset[str]] = {
    "Site": frozenset({"name", "cidr"}),
    "Vpc": frozenset({"name", "region", "cidr"}),
    "Subnet": frozenset({"name", "vpc", "cidr"}),
    "SecurityGroup": frozenset({"name", "network"}),
    "Disk": frozenset({"name", "zone"}),
    "Host": frozenset({"name", "image", "network", "subnet", "zone", "address"}),
    "BandwidthPackage": frozenset({"name"}),
    "ElasticIp": frozenset({"name", "address"}),
    "LoadBalancer": frozenset({"name", "vpc", "subnet", "address"}),
    "Listener": frozenset({"name", "load_balancer", "port"}),
    "ObjectStore": frozenset({"name", "region", "address"}),
    "Bucket": frozenset({"name", "region", "object_lock_days"}),
    "Tunnel": frozenset({"name", "gateway", "peer"}),
}
"""Properties that cannot change in place: a new value means replacement."""
