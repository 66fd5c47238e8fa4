"""What a bucket holds, every version of it, as the store's owner sees it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from infra.drivers.lab.hosts import containers
from infra.drivers.lab.names import qualified
from infra.drivers.lab.objectstore import store_access
from infra.drivers.lab.s3 import s3_answer
from infra.estate.endpoints import endpoint_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.lab.harness import Lab

NO_LOCK = (400, 404)
"""Answers about the retention of what has none: its bucket has no lock, or it was stored without."""


@dataclass(frozen=True)
class Stored:
    """One version. `marker`: it only hides what is below."""

    key: str
    version: str
    newest: bool
    marker: bool


class Owner:
    """Asks one region's store as its owner, whose key is on no host."""

    def __init__(self, lab: Lab, region: str) -> None:
        endpoint = endpoint_named(lab.estate, f"object-storage:{region}")
        assert endpoint is not None, region
        self._pid = containers(lab.paths.estate)[qualified(lab.paths.estate, endpoint.group)].pid
        self._access = store_access(lab.paths, region)

    def versions(self, bucket: str) -> list[Stored]:
        """Every version and marker of a bucket."""
        found: list[Stored] = []
        after = ""
        while True:
            body = self._asked(f"/{bucket}?{after}versions=")
            found += parsed(body)
            if "<IsTruncated>true" not in body:
                return found
            key, version = _text(body, "NextKeyMarker"), _text(body, "NextVersionIdMarker")
            after = f"key-marker={quote(key, safe='')}&version-id-marker={quote(version, safe='')}&"

    def kept_until(self, bucket: str, those: Iterable[Stored]) -> dict[str, str]:
        """Version → the end of its retention (ISO 8601), of those that have one."""
        found = {
            one.version: _text(
                self._asked(f"/{bucket}/{quote(one.key)}?retention=&versionId={quote(one.version)}", NO_LOCK),
                "RetainUntilDate",
            )
            for one in those
        }
        return {version: until for version, until in found.items() if until}

    def _asked(self, path: str, also: tuple[int, ...] = ()) -> str:
        status, body = s3_answer(self._access, self._pid, "GET", path)
        assert status in {200, *also}, (path, status, body[:300])
        return body


def standing(there: Iterable[Stored]) -> list[Stored]:
    """The newest versions, but for what is hidden and for restic's own lock files. Pure."""
    return [one for one in there if one.newest and not one.marker and "/locks/" not in one.key]


def parsed(body: str) -> list[Stored]:
    """The versions in one answer of ListObjectVersions."""
    return [
        Stored(
            html.unescape(_text(entry, "Key")),
            _text(entry, "VersionId"),
            _text(entry, "IsLatest") == "true",
            kind == "DeleteMarker",
        )
        for kind, entry in re.findall(r"<(Version|DeleteMarker)>(.*?)</\1>", body, re.DOTALL)
    ]


def _text(body: str, element: str) -> str:
    found = re.search(rf"<{element}>(.*?)</{element}>", body, re.DOTALL)
    return found[1] if found else ""
