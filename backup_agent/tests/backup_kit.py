"""Logs, segments and entries as the tests need them. Logs are laid out as MySQL documents them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pyrage import x25519

from yiyun_backup import binlog, signed
from yiyun_backup.chain import Chain, follow
from yiyun_backup.gtids import GtidSet
from yiyun_backup.segments import Seal, Segment, manifest_of, pack

SOURCE = "0a000000-0000-0000-0000-000000000001"
OTHER = "0b000000-0000-0000-0000-000000000002"
AT = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
TIME = 1_790_000_000_000_000


def event(kind: int, body: bytes, position: int = 0) -> bytes:
    """One event with its checksum. `position`: where it begins in its file."""
    size = binlog.HEADER.size + len(body) + 4
    whole = binlog.HEADER.pack(TIME // 10**6, kind, 1, size, position + size, 0) + body
    return whole + struct.pack("<I", zlib.crc32(whole))


def head(version: str = "9.7.4") -> bytes:
    """A format description that promises checksums."""
    body = struct.pack("<H50sIB", 4, version.encode(), 0, 19) + bytes(41) + b"\x01"
    return event(binlog.FORMAT_DESCRIPTION, body, 4)


def transaction(
    number: int,
    position: int = 0,
    *,
    uuid: str = SOURCE,
    at: int = TIME,
    after: int = 0,
    sequence: int = 1,
    payload: bytes = b"change",
) -> bytes:
    """A transaction: its GTID event, and two that are not looked into."""
    rest = event(2, b"BEGIN") + event(16, payload)
    fixed = struct.pack("<B16sQBQQ", 0, UUID(uuid).bytes, number, 2, after, sequence)
    fixed += at.to_bytes(7, "little")
    size = binlog.HEADER.size + len(fixed) + 3 + 4 + 4
    length = b"\xfc" + (size + len(rest)).to_bytes(2, "little")
    return event(binlog.GTID, fixed + length + b"\0\0\0\0", position) + rest


@dataclass
class Stream:
    """Writes segments as an agent would, without a server."""

    name: str = "db-1"
    keys: Any = field(default_factory=signed.new_key)
    identity: Any = field(default_factory=x25519.Identity.generate)
    stored: list[bytes] = field(default_factory=list)
    manifests: list[Segment] = field(default_factory=list)
    prev: str = ""
    session: str = "s1"
    held: GtidSet = field(default_factory=GtidSet)

    @property
    def trusted(self) -> dict[str, Any]:
        public = self.keys.public_key()
        return {signed.fingerprint(public): public}

    def cut(self, *numbers: int, source: str = SOURCE, **changes: Any) -> bytes:
        """One more segment of these transactions."""
        last = self.manifests[-1] if self.manifests else None
        anew = last is None or last.session != self.session
        log = (head() if anew else b"") + b"".join(transaction(n, uuid=source) for n in numbers)
        begins = 4 if anew or last is None else last.ends
        gtids = binlog.gtids_of(log)
        values = {
            "estate": "test",
            "stream": self.name,
            "seq": len(self.manifests) + 1,
            "prev": self.prev,
            "session": self.session,
            "member": "db-1",
            "source": source,
            "version": "9.7.4",
            "log": "binlog.000001",
            "begins": begins,
            "ends": begins + len(log),
            "head_seq": len(self.manifests) + 1 if anew or last is None else last.head_seq,
            "held": str(self.held),
            "hole": "",
            "gtids": str(gtids),
            "transactions": len(gtids),
            "first_us": str(TIME),
            "last_us": str(TIME),
            "cut_at": AT,
            "sha256": "",
            "bytes": 0,
            "sealed_sha256": "",
            "sealed_bytes": 0,
        } | changes
        manifest, data = pack(Segment(**values), log, Seal([self.identity.to_public()], self.keys))
        self.manifests.append(manifest)
        self.stored.append(data)
        self.prev = signed.digest(manifest)
        self.held = self.held | GtidSet.parse(manifest.hole) | gtids
        return data

    def opened(self, stored: list[bytes] | None = None) -> list[signed.Opened]:
        return [manifest_of(data, self.trusted, "it")[0] for data in stored or self.stored]

    def follow(self, stored: list[bytes] | None = None) -> Chain:
        return follow(self.name, self.opened(stored))
