"""The recorded buckets of a lab's object store: versions, locks, and who may do what with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra.drivers.lab.bucket_settings import Differences, actual_settings, compare, declared_settings
from infra.drivers.lab.objectstore import folder, prepare, write_private
from infra.drivers.lab.s3 import s3_answer, s3_call
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra import resources as kinds
    from infra.drivers.lab.desired import Desired
    from infra.drivers.lab.s3 import StoreAccess
    from infra.paths import EstatePaths

_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
READ = (
    ("s3:ListBucket", "s3:GetBucketVersioning", "s3:ListBucketVersions"),
    ("s3:GetObject", "s3:GetObjectVersion"),
)
ADD = (
    (*READ[0], "s3:ListBucketMultipartUploads"),
    (*READ[1], "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
)
KEEP = (ADD[0], (*ADD[1], "s3:GetObjectRetention", "s3:PutObjectRetention"))
PRUNE = (KEEP[0], (*KEEP[1], "s3:DeleteObject", "s3:DeleteObjectVersion"))
ACTIONS = {"read": READ, "add": ADD, "keep": KEEP, "prune": PRUNE}
"""Access → actions on the bucket itself, actions on its objects."""


def bucket_policy(bucket: kinds.Bucket) -> dict[str, object]:
    """The bucket's policy. Nobody it names may delete but who prunes, whose key is on no host. Pure."""
    statements: list[dict[str, object]] = []
    for granted in bucket.access:
        for actions, what in zip(ACTIONS[granted.access], (bucket.name, f"{bucket.name}/*"), strict=True):
            statements.append(
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": [granted.account]},
                    "Action": list(actions),
                    "Resource": [f"arn:aws:s3:::{what}"],
                }
            )
        if granted.access == "keep":
            statements.append(_lock_files(bucket.name, granted.account))
    return {"Version": "2012-10-17", "Statement": statements}


def _lock_files(bucket: str, account: str) -> dict[str, object]:
    """Lock files of repositories: who made them removes them; in a versioned bucket this only hides them."""
    return {
        "Effect": "Allow",
        "Principal": {"AWS": [account]},
        "Action": ["s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/restic/*/locks/*"],
    }


def ensure_buckets(paths: EstatePaths, desired: Desired, access: StoreAccess, pid: int) -> list[str]:
    """Make the recorded buckets of a region, with versions, lock and policy as recorded.

    `pid`: a process of the store's container. Buckets without a record stay while they hold data.
    Raises YiyunError when the store refuses.
    """
    changed: list[str] = []
    note = folder(paths, access.region) / "buckets.json"
    made: dict[str, str] = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    for bucket in desired.buckets:
        if bucket.region != access.region:
            continue
        wanted = json.dumps([bucket.model_dump(), bucket_policy(bucket)], sort_keys=True)
        if made.get(bucket.name) == wanted and not differs(access, pid, bucket):
            continue
        _make(access, pid, bucket)
        made[bucket.name] = wanted
        write_private(note, json.dumps(made))
        changed.append(f"bucket {bucket.name}: made")
    return changed + _remove_unrecorded(paths, desired, access, pid, made)


def differs(access: StoreAccess, pid: int, bucket: kinds.Bucket) -> Differences:
    """Settings of a bucket that are not as recorded."""
    actual = actual_settings(lambda method, path: s3_answer(access, pid, method, path), bucket.name)
    policy = bucket_policy(bucket) if bucket.access else None
    return compare(declared_settings(bucket, policy), actual)


def bucket_differences(
    paths: EstatePaths, desired: Desired, store: kinds.ObjectStore, pid: int
) -> dict[str, Differences]:
    """Recorded buckets of a store whose settings are not as recorded. `pid`: of the store's container."""
    access = prepare(paths, desired, store)
    found = {b.name: differs(access, pid, b) for b in desired.buckets if b.region == store.region}
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
        left = {n: v for n, v in made.items() if n not in removed}
        write_private(folder(paths, access.region) / "buckets.json", json.dumps(left))
    return [f"bucket {name}: removed" for name in removed]


def _make(access: StoreAccess, pid: int, bucket: kinds.Bucket) -> None:
    def put(what: str, body: str, purpose: str) -> None:
        status = s3_call(access, pid, "PUT", f"/{bucket.name}?{what}=", body)
        _expect(status, bucket.name, purpose)

    if s3_call(access, pid, "HEAD", f"/{bucket.name}") == 404:
        headers = ("x-amz-bucket-object-lock-enabled: true",) if bucket.object_lock_days else ()
        _expect(s3_call(access, pid, "PUT", f"/{bucket.name}", headers=headers), bucket.name, "be made")
    state = "Enabled" if bucket.versioned or bucket.object_lock_days else "Suspended"
    put(
        "versioning",
        f'<VersioningConfiguration xmlns="{_XMLNS}"><Status>{state}</Status></VersioningConfiguration>',
        "be versioned",
    )
    if bucket.object_lock_days:
        body = (
            f'<ObjectLockConfiguration xmlns="{_XMLNS}"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>'
            f"<DefaultRetention><Mode>COMPLIANCE</Mode><Days>{bucket.object_lock_days}</Days></DefaultRetention>"
            "</Rule></ObjectLockConfiguration>"
        )
        put("object-lock", body, "be locked")
    if bucket.access:
        put("policy", json.dumps(bucket_policy(bucket)), "take its policy")
    else:
        status = s3_call(access, pid, "DELETE", f"/{bucket.name}?policy=")
        _expect(status, bucket.name, "lose its policy", {204, 404})


def _expect(status: int, bucket: str, what: str, good: Collection[int] = (200, 204)) -> None:
    if status not in good:
        raise YiyunError(
            f"bucket {bucket} cannot {what}: the object store answered {status}",
            hint="run the same command again; a bucket's lock can only be set when it is made",
        )
