"""What an agent is told on its host (TOML): where to store, as whom, for how long, and what to save.

Secrets are files of their own. A host has whom to encrypt to, never what opens it; what restores is brought.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pyrage import IdentityError, RecipientError, x25519

from yiyun_backup.errors import BadInputError, KeyMissingError
from yiyun_backup.journal import Journal
from yiyun_backup.repository import Repository
from yiyun_backup.segments import Seal
from yiyun_backup.signed import fingerprint
from yiyun_backup.source import Source
from yiyun_backup.store import Place, Store

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

DEFAULT = Path("/etc/yiyun-backup/backup.toml")
BASES = "mysql"
"""The repository that bases are in, which database hosts share; every other one is its host's."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(_Model):
    """A region's store. The first one in the list is the near one."""

    name: str
    endpoint: str
    bucket: str
    account: str
    secret: Path
    upload_kib: int = Field(default=0, ge=0)
    """KiB a second that a copy may send there; 0: as much as goes. The log is not held back."""


class Bucket(_Model):
    """A bucket of the estate whose versions are its backup: the original, or its copy in another region."""

    name: str
    region: str
    account: str
    secret: Path
    copy_of: str = ""


class Member(_Model):
    """A member of the database that can be streamed from."""

    name: str
    host: str
    port: int = 3306


class Mysql(_Model):
    """On a database's host: its stream and its bases. The first member is the host's own."""

    members: tuple[Member, ...] = ()
    options: Path = Path("/etc/yiyun-backup/mysql.cnf")
    user: str = "yiyun_backup"
    authority: str = ""
    program: Path = Path("/usr/sbin/mysqld")
    owner: str = "mysql"
    staging: Path = Path("/data/backup")
    outbox_mib: int = 2048
    buffer_pool_mib: int = Field(default=128, ge=16)
    """Of the server that a restore runs."""


class Item(_Model):
    """What a service on this host has saved. `command` prints it, instead of `paths`."""

    service: str
    way: str
    paths: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    optional: bool = False
    """Whether paths may be missing."""


class Keep(_Model):
    """How long, in days."""

    log: float = Field(default=35, gt=0)
    base: float = Field(default=35, gt=0)
    files: float = Field(default=35, gt=0)
    catalogue: float = Field(default=400, gt=0)


class Config(_Model):
    """The file."""

    estate: str
    host: str
    regions: tuple[Region, ...] = Field(min_length=1)
    authority: Path
    recipients: tuple[str, ...]
    signing_key: Path
    """File of the 32 bytes of this host's Ed25519 key, in hexadecimal."""
    trusted: dict[str, str]
    """Host → its public key, in hexadecimal."""
    password: Path
    """Of this host's repository of files."""
    mysql_password: Path | None = None
    """Of the database's repository, on its hosts."""
    state: Path = Path("/var/lib/yiyun-backup")
    run: Path = Path("/run/yiyun-backup")
    keep: Keep = Keep()
    items: tuple[Item, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    """Originals and copies that this host may read."""
    as_of: datetime | None = None
    """Read every store as it was then; told for one run, never in the file."""
    cares: bool = False
    """Whether this host extends and reads back what every host stored, not its own alone."""
    mysql: Mysql = Mysql()

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read the file. Raises BadInputError, naming the field."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise BadInputError(f"{path}: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadInputError(f"{path}: {where}: {first['msg']}") from error

    def kept_for(self, repository: str) -> timedelta:
        """How long what is in a repository is kept from its last use on."""
        return timedelta(days=self.keep.base if repository == BASES else self.keep.files)

    def place(self, region: str = "") -> Place:
        """A region's store; without a name the near one. Raises BadInputError."""
        for found in self.regions:
            if region in {"", found.name}:
                return Place(
                    found.name,
                    found.endpoint,
                    found.bucket,
                    found.account,
                    found.secret,
                    self.authority,
                    found.upload_kib,
                    self.as_of,
                )
        names = ", ".join(r.name for r in self.regions)
        raise BadInputError(f"no region {region}", hint=f"one of {names}")

    def as_account(self, account: str, secret: Path) -> Config:
        """With other credentials of every store, which were brought for one run."""
        regions = tuple(r.model_copy(update={"account": account, "secret": secret}) for r in self.regions)
        return self.model_copy(update={"regions": regions})

    def rewound(self, at: datetime | None) -> Config:
        """The same, with every store read as it was at a time."""
        return self.model_copy(update={"as_of": at}) if at else self

    def store(self, region: str = "") -> Store:
        """The store of a region."""
        return Store(self.place(region))

    def stores(self) -> list[Store]:
        """The stores of all regions, the near one first."""
        return [self.store(region.name) for region in self.regions]

    def bucket(self, name: str) -> Store:
        """A bucket of the estate. Raises BadInputError, naming those there are."""
        for found in self.buckets:
            if found.name == name:
                place = self.place(found.region)
                more = {"bucket": found.name, "account": found.account, "secret_file": found.secret}
                return Store(replace(place, **more))
        names = ", ".join(b.name for b in self.buckets)
        raise BadInputError(f"no bucket {name} is read from here", f"there are: {names or 'none'}")

    def repository(self, name: str, region: str = "") -> Repository:
        """A repository of a region: the host's own, or the database's (`mysql`)."""
        password = self.mysql_password if name == BASES else self.password
        if password is None or not password.exists():
            raise KeyMissingError(
                f"no password of the repository {name} is here: {password or 'none is named'}"
            )
        return Repository(self.place(region), name, password, self.state / "cache")

    @cached_property
    def key(self) -> Ed25519PrivateKey:
        """The host's key to sign with. Raises KeyMissingError."""
        try:
            text = self.signing_key.read_text(encoding="ascii").strip()
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
        except (OSError, ValueError) as error:
            raise KeyMissingError(f"{self.signing_key}: no key to sign with: {error}") from error

    def keys_of(self, host: str) -> Mapping[str, Ed25519PublicKey]:
        """Fingerprint → key that counts as a host's, or as that of one of its streams: its own.

        No host is trusted in another's name. Raises KeyMissingError, naming the host.
        """
        if (text := self.trusted.get(host.partition("~")[0])) is None:
            return {}
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
        except ValueError as error:
            raise KeyMissingError(f"the public key of {host} is none: {error}") from error
        return {fingerprint(key): key}

    @property
    def seal(self) -> Seal:
        """Whom segments are encrypted to, and who signs them."""
        try:
            recipients = [x25519.Recipient.from_str(text) for text in self.recipients]
        except RecipientError as error:
            raise BadInputError(f"recipients: {error}") from error
        return Seal(recipients, self.key)

    @property
    def journal(self) -> Journal:
        """The host's own catalogue."""
        return Journal(self.estate, self.host, self.state / "catalogue", self.key)

    def sources(self) -> list[Source]:
        """Where the stream may come from, the host's own member first."""
        m = self.mysql
        return [Source(one.name, one.host, one.port, m.options, m.user, m.authority) for one in m.members]


@contextmanager
def brought(config: Config, path: Path) -> Generator[Path]:
    """The file of a secret that came for one run; `-`: from standard input, and gone afterwards."""
    if str(path) != "-":
        yield path
        return
    config.run.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=config.run, prefix="brought-") as file:  # nobody else's to read
        file.write(sys.stdin.read())
        file.flush()
        yield Path(file.name)


def identities(path: Path) -> list[x25519.Identity]:
    """The keys that open what was stored, one a line (age). Raises KeyMissingError, naming the file."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        found = [
            x25519.Identity.from_str(line.strip()) for line in lines if line.startswith("AGE-SECRET-KEY-")
        ]
    except (OSError, ValueError, IdentityError) as error:
        raise KeyMissingError(f"{path}: no key that opens backups: {error}") from error
    if not found:
        raise KeyMissingError(f"{path}: no key that opens backups is in it", "the recovery kit has one")
    return found
