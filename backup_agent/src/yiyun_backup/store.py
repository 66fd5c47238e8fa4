"""A bucket of one region: versions that nobody can take away before their time.

Every object is put with a retention; hosts' credentials can add and read, not delete. Against whoever holds
them, the store's object lock stands (S3, mode COMPLIANCE). Where a provider has none, its policy does
(docs/decisions/0034).
"""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from yiyun_backup.errors import BackupError, DamageError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

CONNECT_SECONDS, READ_SECONDS = 5, 60
ABSENT = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = re.compile(f"[0-7][{DIGITS}]{{25}}")
FORBIDDEN = frozenset({"403", "AccessDenied", "MethodNotAllowed", "ObjectLocked", "InvalidObjectState"})


class StoreError(BackupError):
    """The store did not do it: away, refusing, or cutting half-way. Worth another try."""

    code = "store"


class AbsentError(DamageError):
    """There is no such object."""

    def __init__(self, what: str) -> None:
        super().__init__("missing", f"{what} is missing")


@dataclass(frozen=True)
class Place:
    """Where a store is, and as whom it is asked. `secret_file`: read anew for each client."""

    region: str
    endpoint: str
    bucket: str
    account: str
    secret_file: Path
    authority: Path
    """Certificates that the endpoint's must come from."""
    upload_kib: int = 0
    """KiB a second that a repository there may be sent; 0: no limit."""
    as_of: datetime | None = None
    """Read everything as it was then, whatever was written over it or hid it since."""


class Item(NamedTuple):
    """One object, or one version of it."""

    key: str
    size: int
    modified: datetime
    version: str = ""
    newest: bool = True
    marker: bool = False
    """Whether it only hides what is below."""


class Store:
    """The bucket. Methods raise StoreError, RefusedError, AbsentError."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.region
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=place.endpoint,
            region_name=place.region,
            aws_access_key_id=place.account,
            aws_secret_access_key=place.secret_file.read_text(encoding="utf-8").strip(),
            verify=str(place.authority),
            config=Config(
                signature_version="s3v4",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 3},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, key: str, data: bytes, keep_until: datetime) -> str:
        """Store an object under retention. Returns its version."""
        with self._asked(f"put {key}"):
            answer = self._client.put_object(
                Bucket=self.place.bucket,
                Key=key,
                Body=data,
                ContentMD5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=keep_until,
            )
        return str(answer.get("VersionId", ""))

    def get(self, key: str, *, version: str = "", first: int = 0, part: str = "") -> bytes:
        """An object's bytes; `first`: only so many; `part`: these (`100-199`). A body that ends early is an
        error.
        """
        more: dict[str, Any] = {}
        if version or self.place.as_of:
            more["VersionId"] = version or self._then(key).version
        if first or part:
            more["Range"] = f"bytes={part or f'0-{first - 1}'}"
        with self._asked(f"get {key}", key):
            answer = self._client.get_object(Bucket=self.place.bucket, Key=key, **more)
            return bytes(answer["Body"].read())

    def list(self, prefix: str, *, after: str = "") -> Iterator[Item]:
        """Objects whose names begin so, in order; `after`: those behind that name."""
        if self.place.as_of:
            yield from self._list_then(prefix, after, self.place.as_of)
            return
        more = {"StartAfter": after} if after else {}
        with self._asked(f"list {prefix}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.place.bucket, Prefix=prefix, **more):
                for found in page.get("Contents", ()):
                    yield Item(found["Key"], int(found["Size"]), found["LastModified"])

    def _then(self, key: str) -> Item:
        found = as_of((item for item in self.versions(key) if item.key == key), self.place.as_of)
        if found is None:
            raise AbsentError(f"{self.place.region}: {key} as of {self.place.as_of}")
        return found

    def _list_then(self, prefix: str, after: str, at: datetime) -> Iterator[Item]:
        """Page by page; the last name of a page may go on in the next one."""
        left: list[Item] = []
        for page in self._version_pages(prefix, after):
            left += page
            last = max((item.key for item in left), default="")
            done = [item for item in left if item.key != last]
            left = [item for item in left if item.key == last]
            yield from _each_as_of(done, at)
        yield from _each_as_of(left, at)

    def must_answer(self) -> None:
        """Ask for one name. Where nobody answers restic would try for a quarter of an hour (measured)."""
        with self._asked("list"):
            self._client.list_objects_v2(Bucket=self.place.bucket, MaxKeys=1)

    def versions(self, prefix: str) -> Iterator[Item]:
        """Every version and every marker of objects whose names begin so."""
        for page in self._version_pages(prefix):
            yield from page

    def _version_pages(self, prefix: str, after: str = "") -> Iterator[list[Item]]:
        more = {"KeyMarker": after} if after else {}
        with self._asked(f"list versions of {prefix}"):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self.place.bucket, Prefix=prefix, **more):
                found = [_item(version) for version in page.get("Versions", ())]
                yield found + [_item(marker, marker=True) for marker in page.get("DeleteMarkers", ())]

    def kept_until(self, key: str, version: str = "") -> datetime | None:
        """Until when an object cannot be removed; None when it can."""
        more = {"VersionId": version} if version else {}
        with self._asked(f"retention of {key}", key):
            try:
                answer = self._client.get_object_retention(Bucket=self.place.bucket, Key=key, **more)
            except ClientError as error:
                if _code(error) == "NoSuchObjectLockConfiguration":
                    return None
                raise
        return answer["Retention"].get("RetainUntilDate")

    def extend(self, key: str, until: datetime, version: str = "") -> None:
        """Keep an object longer. Shorter is refused by the store.

        A legal hold is this too, again and again while it lasts: a store may forget the hold of S3 when a
        retention is over (versitygw 1.8.0, measured).
        """
        more = {"VersionId": version} if version else {}
        with self._asked(f"extend {key}", key):
            self._client.put_object_retention(
                Bucket=self.place.bucket,
                Key=key,
                Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
                **more,
            )

    def remove(self, key: str, version: str = "") -> None:
        """Remove one version for good; without a version only hide the object, by a marker.

        RefusedError while it is locked, or by these credentials.
        """
        more = {"VersionId": version} if version else {}
        with self._asked(f"remove {key}", key):
            self._client.delete_object(Bucket=self.place.bucket, Key=key, **more)

    @contextmanager
    def _asked(self, what: str, key: str = "") -> Generator[None]:
        where = f"{self.place.region}: {what}"
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if key and code in ABSENT:
                raise AbsentError(f"{self.place.region}: {key}") from error
            if code in FORBIDDEN:
                raise RefusedError(f"{where}: {code}") from error
            raise StoreError(f"{where}: {code}") from error
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise StoreError(f"{where}: {_short(error)}") from error


def as_of(versions: Iterable[Item], at: datetime | None) -> Item | None:
    """Of one object's versions the one that was the newest at a time; None when there was none. Pure."""
    newest = max(
        (v for v in versions if at is None or v.modified <= at), key=lambda v: v.modified, default=None
    )
    return None if newest is None or newest.marker else newest


def _each_as_of(items: Iterable[Item], at: datetime) -> Iterator[Item]:
    by_key: dict[str, list[Item]] = {}
    for item in items:
        by_key.setdefault(item.key, []).append(item)
    for key in sorted(by_key):
        if found := as_of(by_key[key], at):
            yield found


def _item(found: dict[str, Any], *, marker: bool = False) -> Item:
    written = written_at(found["VersionId"], found["LastModified"])
    size = 0 if marker else int(found["Size"])
    return Item(found["Key"], size, written, found["VersionId"], bool(found["IsLatest"]), marker)


def written_at(version: str, modified: datetime) -> datetime:
    """When a version was written.

    versitygw 1.8.0 gives one that was written over the time when that happened (measured); its ids are ULIDs,
    which begin with the time (milliseconds since 1970 in 10 digits of base 32).
    """
    if not ULID.fullmatch(version):
        return modified
    milliseconds = 0
    for digit in version[:10]:
        milliseconds = milliseconds * 32 + DIGITS.index(digit)
    known = milliseconds / 1000 <= modified.timestamp() + 1  # its times are whole seconds
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if known else modified


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "?"))


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())[:200]
