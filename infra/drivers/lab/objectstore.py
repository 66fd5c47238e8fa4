"""Object storage of the lab: one versitygw a region, its keys, and the recorded buckets."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.drivers.lab import hosts
from infra.drivers.lab.buckets import Differences, actual_settings, compare, declared_settings
from infra.drivers.lab.commands import run
from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.names import STORE_PORT, qualified, store_thing
from infra.drivers.lab.topology import stores
from infra.errors import YiyunError

if TYPE_CHECKING:
    from pathlib import Path

    from infra import resources as kinds
    from infra.drivers.lab.desired import Desired
    from infra.paths import EstatePaths

_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class StoreAccess:
    """How to reach a region's object store. `secret_key` is a secret."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str


def folder(paths: EstatePaths, region: str) -> Path:
    """Objects, versions and keys of a region's store."""
    return paths.lab / "objectstore" / region


def prepare(paths: EstatePaths, desired: Desired, region: str) -> StoreAccess:
    """Make a store's folders and keys, once; the keys stand in `objectstore/REGION.json`, mode 0600."""
    where = folder(paths, region)
    for part in ("objects", "versions"):
        (where / part).mkdir(parents=True, exist_ok=True)
    note = paths.lab / "objectstore" / f"{region}.json"
    if not note.exists():
        keys = {"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_urlsafe(30)}
        _write_private(note, json.dumps(keys))
    keys = json.loads(note.read_text(encoding="utf-8"))
    environment = f"ROOT_ACCESS_KEY={keys['access_key']}\nROOT_SECRET_KEY={keys['secret_key']}\n"
    if not (where / "keys.env").exists() or (where / "keys.env").read_text(encoding="utf-8") != environment:
        _write_private(where / "keys.env", environment)
    endpoint = f"http://{stores(desired)[region]}:{STORE_PORT}"
    return StoreAccess(endpoint, region, keys["access_key"], keys["secret_key"])


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def ensure_buckets(paths: EstatePaths, desired: Desired, access: StoreAccess, pid: int) -> list[str]:
    """Make the recorded buckets of a region, with versioning and object lock as recorded.

    `pid`: a process of the store's container. Buckets without a record stay: they hold data.
    Raises YiyunError when the store refuses.
    """
    changed: list[str] = []
    note = folder(paths, access.region) / "buckets.json"
    made: dict[str, str] = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    for bucket in desired.buckets:
        if bucket.region != access.region:
            continue
        wanted = bucket.model_dump_json()
        if made.get(bucket.name) == wanted and not differs(access, pid, bucket):
            continue
        _make_bucket(access, pid, bucket)
        made[bucket.name] = wanted
        _note_buckets(paths, access.region, made)
        changed.append(f"bucket {bucket.name}: made")
    return changed + _remove_unrecorded(paths, desired, access, pid, made)


def differs(access: StoreAccess, pid: int, bucket: kinds.Bucket) -> Differences:
    """Settings of a bucket that are not as recorded."""
    actual = actual_settings(lambda method, path: s3_text(access, pid, method, path), bucket.name)
    return compare(declared_settings(bucket), actual)


def bucket_differences(paths: EstatePaths, desired: Desired, region: str, pid: int) -> dict[str, Differences]:
    """Recorded buckets of a region whose settings are not as recorded. `pid`: of the store's container."""
    access = prepare(paths, desired, region)
    found = {b.name: differs(access, pid, b) for b in desired.buckets if b.region == region}
    return {name: differing for name, differing in found.items() if differing}


def _remove_unrecorded(
    paths: EstatePaths, desired: Desired, access: StoreAccess, pid: int, made: dict[str, str]
) -> list[str]:
    """Remove empty buckets without a record. One that holds data stays, as in the cloud."""
    recorded = {b.name for b in desired.buckets if b.region == access.region}
    removed = [
        name
        for name in sorted(set(made) - recorded)
        if s3_call(access, pid, "DELETE", f"/{name}") in {204, 404}
    ]
    if removed:
        _note_buckets(paths, access.region, {n: v for n, v in made.items() if n not in removed})
    return [f"bucket {name}: removed" for name in removed]


def _note_buckets(paths: EstatePaths, region: str, made: dict[str, str]) -> None:
    note = folder(paths, region) / "buckets.json"
    temporary = note.with_suffix(".new")
    temporary.write_text(json.dumps(made), encoding="utf-8")
    temporary.replace(note)


def _make_bucket(access: StoreAccess, pid: int, bucket: kinds.Bucket) -> None:
    exists = s3_call(access, pid, "HEAD", f"/{bucket.name}")
    if exists == 404:
        headers = ("x-amz-bucket-object-lock-enabled: true",) if bucket.object_lock_days else ()
        _expect(s3_call(access, pid, "PUT", f"/{bucket.name}", headers=headers), bucket.name, "be made")
    state = "Enabled" if bucket.versioned or bucket.object_lock_days else "Suspended"
    body = f'<VersioningConfiguration xmlns="{_XMLNS}"><Status>{state}</Status></VersioningConfiguration>'
    _expect(s3_call(access, pid, "PUT", f"/{bucket.name}?versioning=", body), bucket.name, "be versioned")
    _expect(s3_call(access, pid, "DELETE", f"/{bucket.name}?policy="), bucket.name, "lose its policy")
    if bucket.object_lock_days:
        body = (
            f'<ObjectLockConfiguration xmlns="{_XMLNS}"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>'
            f"<DefaultRetention><Mode>COMPLIANCE</Mode><Days>{bucket.object_lock_days}</Days></DefaultRetention>"
            "</Rule></ObjectLockConfiguration>"
        )
        _expect(s3_call(access, pid, "PUT", f"/{bucket.name}?object-lock=", body), bucket.name, "be locked")


def _expect(status: int, bucket: str, what: str) -> None:
    if status not in {200, 204}:
        raise YiyunError(
            f"bucket {bucket} cannot {what}: the object store answered {status}",
            hint="run the same command again; a bucket's lock can only be set when it is made",
        )


def s3_call(
    access: StoreAccess, pid: int, method: str, path: str, body: str = "", headers: tuple[str, ...] = ()
) -> int:
    """HTTP status of one signed S3 request; 0 when nobody answers."""
    return s3_text(access, pid, method, path, body, headers)[0]


def s3_text(
    access: StoreAccess, pid: int, method: str, path: str, body: str = "", headers: tuple[str, ...] = ()
) -> tuple[int, str]:
    """HTTP status and body of one signed S3 request, sent from inside the store's own container by curl.

    The secret goes by standard input, not by argument. Status 0 when nobody answers.
    """
    digest = base64.b64encode(hashlib.md5(body.encode(), usedforsecurity=False).digest()).decode()
    lines = [
        f'url = "http://127.0.0.1:{STORE_PORT}{path}"',
        f'user = "{access.access_key}:{access.secret_key}"',
        f'aws-sigv4 = "aws:amz:{access.region}:s3"',
        'write-out = "\\n%{http_code}"',
        "silent",
        "max-time = 10",
        "head" if method == "HEAD" else f'request = "{method}"',
        *(f'header = "{h}"' for h in headers),
    ]
    if body:
        quoted = body.replace("\\", "\\\\").replace('"', '\\"')
        lines += [
            f'data = "{quoted}"',
            f'header = "Content-MD5: {digest}"',
            'header = "Content-Type: application/xml"',
        ]
    done = run(
        hosts.enter_command(pid, ["curl", "--config", "-"]), stdin="\n".join(lines) + "\n", check=False
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status or 0), text


def wait_until_up(access: StoreAccess, pid: int, seconds: float = 15) -> None:
    """Wait until a store answers. Raises YiyunError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if s3_call(access, pid, "GET", "/") == 200:
            return
        time.sleep(0.1)
    raise YiyunError(f"the object store of {access.region} does not start", hint="run the same command again")


def store_access(paths: EstatePaths, region: str) -> StoreAccess:
    """How to reach a region's store, for those who bring backups there. Raises KeyError without a store."""
    return prepare(paths, read_desired(paths), region)


def container_name(estate: str, region: str) -> str:
    """Full name of a store's container."""
    return qualified(estate, store_thing(region))
