"""The estate as its file writes it: hosts, networks, sites, line, storage. Pure data, no effects."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network  # noqa: TC003  pydantic reads them at run time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
"""Names of things: at most 31 characters, so that JD Cloud's limit of 32 holds (jdcloud.md, Limits)."""


class Part(BaseModel):
    """A part of the estate file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Capacity(Part):
    """What all cloud hosts must add up to."""

    vcpu: int = Field(gt=0)
    memory_gib: int = Field(gt=0)


class Region(Part):
    """A region of the provider, with the zone its hosts stand in."""

    name: Name
    zone: str = ""


class Subnet(Part):
    """A subnet of the VPC."""

    name: Name
    cidr: IPv4Network


class Vpc(Part):
    """The private network of the cloud side."""

    name: Name = "vpc"
    cidr: IPv4Network
    subnets: tuple[Subnet, ...] = Field(min_length=1)


class Site(Part):
    """Premises with a network of their own: a hospital's data centre."""

    name: Name
    cidr: IPv4Network
    internet_address: IPv4Address | None = None
    operator_address: IPv4Address | None = None


class Disk(Part):
    """A data disk, apart from the system disk. It is protected and outlives its host."""

    name: Name = "data"
    size_gib: int = Field(gt=0, le=16000)
    mount: str = Field(default="/data", pattern=r"^/[a-z0-9/_-]+$")


class Access(Part):
    """How a machine that exists already is reached, and how it lets us in the first time."""

    host: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    """Name or address that SSH connects to directly; empty: the host's own address, through its bastion."""
    port: int = Field(default=22, ge=1, le=65535)
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "root"
    """Who lets the operators' key in; needs password-less sudo when it is not root."""
    key_file: str = Field(default="", pattern=r"^([/~].*)?$")
    """Private key of that user on this machine; empty: the operators' own key is let in already."""
    host_key: str = Field(default="", pattern=r"^(ssh-ed25519 [A-Za-z0-9+/=]+)?$")
    """The machine's public host key; empty: learnt by `yiyun host learn`."""


class Host(Part):
    """One machine. On the cloud side it stands in a subnet, on the premises at a site."""

    name: Name
    roles: tuple[Name, ...] = Field(min_length=1)
    type: str = ""
    subnet: Name | None = None
    site: Name | None = None
    address: IPv4Address | None = None
    image: Name | None = None
    disks: tuple[Disk, ...] = ()
    provider: Literal["estate", "existing"] = "estate"
    ssh: Access | None = None
    """Of a host that exists already only."""

    @property
    def exists(self) -> bool:
        """True when the provider neither makes nor removes it, nor guards it by a security group."""
        return self.provider == "existing"

    @property
    def access(self) -> Access:
        """How it is reached when it exists already."""
        return self.ssh or Access()

    @property
    def sign_in_users(self) -> tuple[str, ...]:
        """Who signs in by SSH: root, and on a machine that exists already the user that let root in."""
        return tuple(dict.fromkeys(("root", self.access.user)))


class LoadBalancer(Part):
    """A load balancer that forwards one public port to a service's port on its hosts."""

    name: Name
    subnet: Name
    address: IPv4Address | None = None
    port: int = Field(default=443, ge=1, le=65535)
    service: Name
    service_port: Name
    server_names: tuple[str, ...] = ()


class Bucket(Part):
    """A bucket of the object storage."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,40}[a-z0-9]$")]
    region: Name
    versioned: bool = True
    object_lock_days: int = Field(default=0, ge=0)
    copy_of: str = ""
    """Name of the bucket whose objects this one keeps a copy of."""


class Internet(Part):
    """The public side: a shared bandwidth package and, in the lab, a pool of addresses."""

    bandwidth_mbps: int = Field(default=100, ge=1)
    operators: tuple[IPv4Network, ...] = ()
    pool: IPv4Network | None = None


class Line(Part):
    """The encrypted line: gateways in the cloud, one peer on the premises, WireGuard between them."""

    gateways: tuple[Name, ...] = Field(min_length=1)
    peer: Name
    cidr: IPv4Network


class Database(Part):
    """How the MySQL group chooses its writer."""

    single_primary: bool = False
    """The vendor's default mode: the group elects one primary itself, about six seconds after it lost one."""


class Recovers(Part):
    """Of an estate that takes another one's place in the region where its backups are."""

    estate: Name
    """Whose data, names, addresses and secrets it has."""
    isolated: bool = True
    """A rehearsal: it reads the backups and writes none, and nobody outside is told of it."""


class Published(Part):
    """Ports of 127.0.0.1 at which a lab is reached."""

    bastion: int = Field(default=10022, ge=1024, le=65535)
    premises: int = Field(default=10023, ge=1024, le=65535)
    web: int = Field(default=10443, ge=1024, le=65535)
    monitoring: int = Field(default=10444, ge=1024, le=65535)
    backups: int = Field(default=10445, ge=1024, le=65535)
    """The object storage of the other region, as operators reach it who have lost everything else."""


class Lab(Part):
    """How a lab shrinks the estate to fit one machine."""

    memory_scale: float = Field(default=0.02, gt=0, le=1)
    disk_scale: float = Field(default=0.02, gt=0, le=1)
    published: Published = Published()


class Estate(Part):
    """A whole estate. Cross-references are checked by `infra.estate.checks`."""

    estate: Name
    provider: Literal["lab", "jdcloud"]
    environment: Literal["lab", "production"]
    domain: str = Field(pattern=r"^[a-z0-9.-]+$")
    county_code: str = Field(default="411425", pattern=r"^\d{6}$")
    expect: Capacity
    region: Region
    remote_region: Region
    vpc: Vpc
    sites: tuple[Site, ...] = ()
    internet: Internet
    images: dict[Name, Name] = Field(default_factory=dict)
    default_image: Name = "debian-13"
    hosts: tuple[Host, ...] = Field(min_length=1)
    load_balancers: tuple[LoadBalancer, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    line: Line | None = None
    database: Database = Database()
    recovers: Recovers | None = None
    secrets_from: str = ""
    state: str = ""
    lab: Lab = Lab()

    @property
    def origin(self) -> str:
        """Whose data it works with: its own, or that of the estate it recovers."""
        return self.recovers.estate if self.recovers else self.estate

    @property
    def isolated(self) -> bool:
        """Whether it is a rehearsal, which writes nothing outside."""
        return self.recovers is not None and self.recovers.isolated

    def host(self, name: str) -> Host:
        """The host of that name. Raises KeyError when there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def hosts_with(self, role: str) -> tuple[Host, ...]:
        """Hosts that have a role, in the file's order."""
        return tuple(host for host in self.hosts if role in host.roles)

    @property
    def cloud_hosts(self) -> tuple[Host, ...]:
        """Hosts of the provider, whose sizes add up to `expect`."""
        return tuple(host for host in self.hosts if host.subnet is not None)

    def image_of(self, host: Host) -> str:
        """Operating system: the host's own, else its first role's, else the estate's."""
        if host.image:
            return host.image
        return next((self.images[role] for role in host.roles if role in self.images), self.default_image)
