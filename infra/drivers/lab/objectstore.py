"""Object storage of the lab: one versitygw a region, behind TLS, with accounts of its own."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING

from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.names import qualified
from infra.drivers.lab.s3 import StoreAccess
from infra.errors import YiyunError

if TYPE_CHECKING:
    from pathlib import Path

    from infra import resources as kinds
    from infra.drivers.lab.desired import Desired
    from infra.paths import EstatePaths


def folder(paths: EstatePaths, region: str) -> Path:
    """Objects, versions, accounts and keys of a region's store."""
    return paths.lab / "objectstore" / region


def trust(paths: EstatePaths) -> Path:
    """`NAME.pem` of each store's leaf with its key, `ca.pem`, `accounts.json`; written by the trust part."""
    return paths.lab / "objectstore" / "trust"


def prepare(paths: EstatePaths, desired: Desired, store: kinds.ObjectStore) -> StoreAccess:
    """Make a store's folders and its owner's keys once, and bring certificate and accounts up to date.

    The owner's keys stand in `objectstore/REGION.json`, mode 0600; no host has them.
    Raises YiyunError when the trust part has not written its files.
    """
    where = folder(paths, store.region)
    for part in ("objects", "versions", "accounts"):
        (where / part).mkdir(parents=True, exist_ok=True, mode=0o700)
    note = paths.lab / "objectstore" / f"{store.region}.json"
    if not note.exists():
        made = {"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_urlsafe(30)}
        write_private(note, json.dumps(made))
    keys = json.loads(note.read_text(encoding="utf-8"))
    environment = f"ROOT_ACCESS_KEY={keys['access_key']}\nROOT_SECRET_KEY={keys['secret_key']}\n"
    files = {
        where / "keys.env": environment,
        where / "tls.pem": _trusted(paths, f"{store.certificate}.pem"),
        where / "ca.pem": _trusted(paths, "ca.pem"),
        where / "accounts" / "users.json": accounts(
            desired, store.region, json.loads(_trusted(paths, "accounts.json"))
        ),
    }
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_private(path, text)
    return StoreAccess(
        store.name, store.region, store.server_name, store.port, keys["access_key"], keys["secret_key"]
    )


def accounts(desired: Desired, region: str, keys: dict[str, str]) -> str:
    """The store's accounts as its own file has them: those that its buckets' grants name, none of them admin.

    `keys`: secret key by account. Pure.
    """
    wanted = sorted({a.account for b in desired.buckets if b.region == region for a in b.access})
    entries = {
        account: {"access": account, "secret": keys[account], "role": "user", "userID": 0, "groupID": 0}
        for account in wanted
    }
    return json.dumps({"accessAccounts": entries}, indent=1, sort_keys=True)


def certificate_digest(paths: EstatePaths, store: kinds.ObjectStore) -> str:
    """Short hash of the leaf a store serves: a new one takes a new start."""
    return hashlib.sha256(_trusted(paths, f"{store.certificate}.pem").encode()).hexdigest()[:16]


def _trusted(paths: EstatePaths, name: str) -> str:
    path = trust(paths) / name
    if not path.exists():
        raise YiyunError(
            f"object storage has no {name}",
            hint="yiyun up writes certificates and keys before it makes stores; run it again",
            where=str(path),
        )
    return path.read_text(encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def store_access(paths: EstatePaths, region: str) -> StoreAccess:
    """How to reach a region's store as its owner. Raises KeyError without a store."""
    desired = read_desired(paths)
    for store in desired.stores:
        if store.region == region:
            return prepare(paths, desired, store)
    raise KeyError(region)


def container_name(estate: str, store: str) -> str:
    """Full name of a store's container."""
    return qualified(estate, store)
