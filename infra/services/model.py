"""What a service declares about itself. Rules, checks and backups are derived from it, never typed twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["tcp", "udp"]

EVERY_HOST = "every-host"
"""Caller: any host of the same network."""
INTERNET = "internet"
"""Caller: anybody."""
OPERATORS = "operators"
"""Caller: the operators' own networks, named in the estate."""
LOAD_BALANCER = "load-balancer"
"""Caller: the load balancers that forward to this port."""
SITES = "sites"
"""Caller: the public addresses of the premises."""


@dataclass(frozen=True)
class Caller:
    """Who may call a port: a service by name or one of the constants above.

    `over_line`: callers on the premises come over the encrypted line. Without it a service calls only
    within its own network. `across_regions`: of a managed service, also the endpoints of other regions.
    """

    service: str
    over_line: bool = False
    across_regions: bool = False


@dataclass(frozen=True)
class Port:
    """A port a service listens at, and who may call it."""

    name: str
    number: int
    purpose: str
    callers: tuple[Caller, ...]
    protocol: Protocol = "tcp"

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True)
class SecretSpec:
    """A secret a service needs: `name` in the estate's store, one for all hosts or one each.

    `kind` says how it is rotated (`infra.rotation.rotators`) and when it is due (`rotation/policy.yaml`).
    """

    name: str
    length: int = 32
    per_host: bool = False
    kind: str = "other"


@dataclass(frozen=True)
class SecretFile:
    """A file on a host that holds a secret: nobody but its owner and group may read it."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o600


Way = Literal["files", "sqlite", "dump", "mysql", "objects", "rman"]
"""How something is saved: files as they are; SQLite databases by a copy that was checked; what a command
prints; a MySQL member with its log; a bucket's objects by their versions; Oracle by its own tool."""


@dataclass(frozen=True)
class Save:
    """Something of a service that is saved. `optional`: its paths may be missing on some hosts."""

    way: Way
    paths: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    optional: bool = False


Access = Literal["read", "add", "keep", "prune"]
"""What an account may do with a bucket. `add`: read, list and write; never delete, so that every version
that was ever written stays until somebody with another key prunes it. `keep`: also extend the time for which
an object is locked, and take away the lock files of repositories. `prune`: also remove what no lock holds."""


@dataclass(frozen=True)
class BucketGrant:
    """An account of the object storage that a service uses, and what it may do with a bucket.

    `account` is the access key's name; its secret is the estate's secret `secret`. `of_copies`: the grant is
    for the buckets that the estate declares as copies of `bucket`.
    """

    account: str
    bucket: str
    access: Access
    of_copies: bool = False

    @property
    def secret(self) -> str:
        """Name of the account's secret key in the estate's store."""
        return f"object-{self.account}"


@dataclass(frozen=True)
class Service:
    """A service: on which roles it runs, where it listens, what it keeps, how it proves that it is well."""

    name: str
    roles: tuple[str, ...]
    purpose: str
    listens: tuple[Port, ...] = ()
    units: tuple[str, ...] = ()
    data_paths: tuple[str, ...] = ()
    owned_files: tuple[str, ...] = ()
    secrets: tuple[SecretSpec, ...] = ()
    secret_files: tuple[SecretFile, ...] = ()
    """Where they lie on a host, beside the key of the certificate (`all_secret_files`)."""
    certificate: bool = False
    health: str = ""
    saves: tuple[Save, ...] = ()
    """What of it is saved, and how."""
    keeps_nothing: str = ""
    """Why nothing of it has to be: every service has one of the two."""
    grants: tuple[BucketGrant, ...] = ()
    """Buckets it uses, each under an account of its own."""
    managed: bool = False
    """Run by the provider in every region that needs it, not by a host of the estate: it has no roles."""
    external: bool = False
    """The lab's outside world: not part of the estate that yiyun is answerable for."""

    @property
    def all_secret_files(self) -> tuple[SecretFile, ...]:
        """Every file of it that holds a secret, its certificate's key included."""
        key = SecretFile(f"/etc/yiyun/tls/{self.name}.key", group=f"tls-{self.name}", mode=0o640)
        return (*self.secret_files, key) if self.certificate else self.secret_files

    def port(self, name: str) -> Port:
        """The port of that name. Raises KeyError when there is none."""
        for port in self.listens:
            if port.name == name:
                return port
        raise KeyError(name)
