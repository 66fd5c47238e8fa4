"""A real store with object lock: what a host can do, and what it cannot, however it tries."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from store_kit import BUCKET, in_a, program, regions

from yiyun_backup.errors import BackupError, RefusedError
from yiyun_backup.store import AbsentError, Item, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store_kit import Region

pytestmark = pytest.mark.skipif(program() is None, reason="no S3 server; YIYUN_TEST_S3 names one")


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with regions(tmp_path_factory.mktemp("store"), "near") as made:
        yield made["near"]


@pytest.fixture
def host(region: Region) -> Store:
    return region.store()


def test_what_is_put_is_got_and_listed_in_order(host: Store) -> None:
    for number in (3, 1, 2):
        host.put(f"log/a/{number}", bytes([number]) * 1000, in_a(hours=1))
    host.put("other/1", b"x", in_a(hours=1))
    assert [i.key for i in host.list("log/a/")] == ["log/a/1", "log/a/2", "log/a/3"]
    assert [i.key for i in host.list("log/a/", after="log/a/1")] == ["log/a/2", "log/a/3"]
    assert host.get("log/a/2") == b"\x02" * 1000
    assert host.get("log/a/2", first=10) == b"\x02" * 10
    with pytest.raises(AbsentError, match="near: log/a/9 is missing"):
        host.get("log/a/9")


def test_a_thousand_objects_and_more_are_all_listed(host: Store) -> None:
    for number in range(1010):
        host.put(f"many/{number:04d}", b"", in_a(minutes=1))
    assert len(list(host.list("many/"))) == 1010


def tried(client: Any, key: str, version: str) -> dict[str, Any]:
    """Everything that would take an object away, or hide it, or let somebody take it away sooner."""
    it = {"Bucket": BUCKET, "Key": key}
    sooner, off = in_a(minutes=1), {"Status": "OFF"}
    enabled = {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
    }
    rule = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    everybody = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
        f'"Action": "s3:*", "Resource": ["arn:aws:s3:::{BUCKET}", "arn:aws:s3:::{BUCKET}/*"]}}]}}'
    )
    bypass = {"BypassGovernanceRetention": True}
    return {
        "delete the version": lambda: client.delete_object(**it, VersionId=version),
        "delete past governance": lambda: client.delete_object(**it, VersionId=version, **bypass),
        "hide it by a marker": lambda: client.delete_object(**it),
        "delete many": lambda: client.delete_objects(
            Bucket=BUCKET, Delete={"Objects": [{"Key": key, "VersionId": version}]}
        )["Errors"][0]["none"],
        "shorten": lambda: client.put_object_retention(
            **it, VersionId=version, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": sooner}
        ),
        "to governance": lambda: client.put_object_retention(
            **it, VersionId=version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": in_a(hours=2)}
        ),
        "no retention": lambda: client.put_object_retention(**it, VersionId=version, Retention={}, **bypass),
        "take a hold off": lambda: client.put_object_legal_hold(**it, VersionId=version, LegalHold=off),
        "suspend versions": lambda: client.put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
        ),
        "weaken the default": lambda: client.put_object_lock_configuration(
            Bucket=BUCKET, ObjectLockConfiguration=enabled
        ),
        "let it expire": lambda: client.put_bucket_lifecycle_configuration(
            Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]}
        ),
        "open the bucket": lambda: client.put_bucket_policy(Bucket=BUCKET, Policy=everybody),
        "drop the policy": lambda: client.delete_bucket_policy(Bucket=BUCKET),
        "delete the bucket": lambda: client.delete_bucket(Bucket=BUCKET),
    }


def test_no_credential_of_a_host_takes_anything_away(host: Store) -> None:
    version = host.put("held/1", b"precious", in_a(hours=1))
    done: list[str] = []
    for name, attempt in tried(host._client, "held/1", version).items():
        with suppress(ClientError, KeyError):
            attempt()
            done.append(name)
    assert not done
    assert host.get("held/1") == b"precious"
    assert not [i for i in host.versions("held/") if i.marker]


def test_an_object_that_was_written_over_is_still_there_by_its_version(host: Store) -> None:
    first = host.put("held/2", b"precious", in_a(hours=1))
    second = host.put("held/2", b"ransom", in_a(hours=1))
    assert host.get("held/2") == b"ransom"
    assert host.get("held/2", version=first) == b"precious"
    found = {i.version: i.newest for i in host.versions("held/2")}
    assert found == {first: False, second: True}


def test_not_even_the_owner_removes_what_is_locked_and_what_is_over_can_be_pruned(region: Region) -> None:
    owner = region.store("owner")
    until = in_a(seconds=2)
    version = owner.put("owned/1", b"x", until)
    with pytest.raises(RefusedError):
        owner.remove("owned/1", version)
    limit = in_a(seconds=20)
    while True:
        try:
            owner.remove("owned/1", version)
            break
        except RefusedError:
            assert in_a() < limit
    assert in_a(seconds=1) >= until
    assert list(owner.versions("owned/")) == []


def test_retention_is_extended_and_never_shortened(region: Region, host: Store) -> None:
    longer = in_a(hours=3)
    version = host.put("long/1", b"x", in_a(hours=1))
    host.extend("long/1", longer, version)
    assert host.kept_until("long/1") == longer
    with pytest.raises(RefusedError):
        host.extend("long/1", in_a(hours=1), version)
    assert host.kept_until("long/1", version) == longer
    region.store("owner")._client.put_object(Bucket=BUCKET, Key="long/2", Body=b"x")
    assert host.kept_until("long/2") is None


def test_a_store_that_is_away_or_does_not_know_us_is_an_error_that_says_so(region: Region) -> None:
    region.secrets["host"], right = "wrong" * 5, region.secrets["host"]
    try:
        with pytest.raises(BackupError, match="near: put a: SignatureDoesNotMatch"):
            region.store().put("a", b"", in_a(hours=1))
    finally:
        region.secrets["host"] = right
    asked = region.store()
    region.stop()
    try:
        with pytest.raises(StoreError, match="near: get held/1"):
            asked.get("held/1")
    finally:
        region.start()
    assert isinstance(next(iter(region.store().list("held/"))), Item)
