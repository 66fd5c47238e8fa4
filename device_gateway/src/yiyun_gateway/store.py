"""The durable queue: one SQLite file in WAL mode. Raw bytes are the only truth; everything else is derived.

States: received → parsed → delivered, or parked with a reason; replay puts parked back to received.
The listener commits with synchronous=FULL before it acknowledges. The worker commits with NORMAL: losing
its last marks to a power cut only means parsing or delivering again under the same key.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

State = Literal["received", "parsed", "delivered", "parked"]
STATES: tuple[State, ...] = ("received", "parsed", "delivered", "parked")
SCHEMA_VERSION = 1
RESERVE = 0.10
"""Share of max_bytes that new messages may not use: the worker needs room to mark what it delivered."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    sender TEXT NOT NULL,
    peer TEXT NOT NULL,
    control_id TEXT NOT NULL,
    message_type TEXT NOT NULL,
    received_at TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('received', 'parsed', 'delivered', 'parked')),
    lane TEXT,
    reason TEXT,
    delivered_at TEXT,
    repeats INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS message_by_state ON message (state, id, sender);
CREATE TABLE IF NOT EXISTS unmapped (
    facility TEXT NOT NULL, code TEXT NOT NULL, unit TEXT NOT NULL, display TEXT NOT NULL,
    first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, seen INTEGER NOT NULL, example INTEGER NOT NULL,
    PRIMARY KEY (facility, code, unit)
) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The store cannot be used (missing, newer, damaged); the text is one line and says what to do."""


class FullError(Exception):
    """The store is at its bound and refuses new messages."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it came in; `parked` is a reason when it is already known to be unreadable."""

    sender: str
    message_time: str
    control_id: str
    message_type: str
    peer: str
    raw: bytes
    received_at: str
    parked: str | None = None

    @property
    def key(self) -> str:
        """The idempotency key: sha256 over sender, raw bytes and message time, each after its length."""
        digest = hashlib.sha256()
        for part in (
            self.sender.encode("utf-8", "surrogateescape"),
            self.raw,
            self.message_time.encode("utf-8", "replace"),
        ):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.hexdigest()


def now() -> str:
    """Return the current time, RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open or create the store. `durable`: each commit is on the disk when it returns (synchronous=FULL).

    Raises StoreError when it cannot be opened or was made by a newer gateway.
    """
    try:
        db = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}; check that the folder exists and is writable") from error
    try:
        _prepare(db, path, durable=durable)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, *, durable: bool) -> None:
    try:
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreError(
                f"{path}: cannot use write-ahead logging here; put the store on a local file system"
            )
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        db.execute("PRAGMA wal_autocheckpoint = 8000")
        db.execute("PRAGMA journal_size_limit = 67108864")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(f"{path}: made by a newer gateway (schema {version}); install that version")
        if version < SCHEMA_VERSION:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}; check that the folder exists and is writable") from error


def attach(path: Path) -> sqlite3.Connection:
    """Open an existing store to look at or to replay. Raises StoreError when there is none."""
    if not path.is_file():
        raise StoreError(f"{path}: no store yet; `yiyun-gateway serve` makes it")
    return connect(path, durable=True)


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """Run the block in one immediate transaction, rolled back when it raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def used_bytes(db: sqlite3.Connection) -> int:
    """Return the bytes of pages in use (pages freed by pruning are room again)."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def accept(db: sqlite3.Connection, batch: Sequence[Arrival], max_bytes: int) -> list[bool]:
    """Store a batch durably in one commit; per message, whether it was new (False: already stored, same key).

    Raises FullError when the batch does not fit, sqlite3.Error when the disk refuses; then nothing is stored.
    """
    with transaction(db):
        wanted = sum(len(one.raw) + 512 for one in batch)
        if used_bytes(db) + wanted > max_bytes * (1 - RESERVE):
            raise FullError
        return [_insert(db, one) for one in batch]


def _insert(db: sqlite3.Connection, one: Arrival) -> bool:
    key = one.key
    done = db.execute(
        "INSERT INTO message (key, sender, peer, control_id, message_type, received_at, raw, state, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        (
            key, _text(one.sender), one.peer, _text(one.control_id), _text(one.message_type),
            one.received_at, one.raw,
            "parked" if one.parked else "received", one.parked,
        ),
    )  # fmt: skip
    if done.rowcount == 1:
        return True
    db.execute("UPDATE message SET repeats = repeats + 1 WHERE key = ?", (key,))
    return False


def _text(value: str) -> str:
    """SQLite stores no surrogates: bytes that were not text are shown replaced (the raw bytes stay exact)."""
    return value.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The outcome of parsing message `id`: its lane, or why it is parked, and its unmapped codes."""

    id: int
    lane: str | None
    reason: str | None = None
    unmapped: tuple[tuple[str, str, str, str], ...] = ()


def mark_parsed(db: sqlite3.Connection, outcomes: Iterable[Parsed]) -> None:
    """Record parse outcomes in one transaction; rows that are no longer `received` are left alone."""
    at = now()
    with transaction(db):
        for one in outcomes:
            state = "parked" if one.reason else "parsed"
            db.execute(
                "UPDATE message SET state = ?, lane = ?, reason = ? WHERE id = ? AND state = 'received'",
                (state, one.lane, one.reason, one.id),
            )
            db.executemany(
                "INSERT INTO unmapped VALUES (?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE"
                " SET last_seen = excluded.last_seen, seen = seen + 1, display = excluded.display",
                [(*code, at, at, one.id) for code in one.unmapped],
            )


def mark_sent(db: sqlite3.Connection, delivered: Sequence[int], parked: Sequence[tuple[int, str]]) -> None:
    """Record deliveries and refusals (id, the platform's answer) in one transaction."""
    at = now()
    with transaction(db):
        db.executemany(
            "UPDATE message SET state = 'delivered', delivered_at = ?, reason = NULL"
            " WHERE id = ? AND state = 'parsed'",
            [(at, one) for one in delivered],
        )
        db.executemany(
            "UPDATE message SET state = 'parked', reason = ? WHERE id = ? AND state = 'parsed'",
            [(reason, one) for one, reason in parked],
        )


def prune(db: sqlite3.Connection, max_bytes: int, keep_after: str, limit: int = 500) -> int:
    """Delete up to `limit` delivered messages: delivered before `keep_after`, or any while over 80 % full.

    Undelivered and parked messages are never touched. Returns how many went.
    """
    crowded = used_bytes(db) > 0.8 * max_bytes
    with transaction(db):
        return db.execute(
            "DELETE FROM message WHERE id IN (SELECT id FROM message WHERE state = 'delivered'"
            " AND (? OR delivered_at < ?) ORDER BY id LIMIT ?)",
            (crowded, keep_after, limit),
        ).rowcount


def replay(db: sqlite3.Connection, ids: Sequence[int] | None) -> int:
    """Send parked messages (all when `ids` is None) through parsing and delivery again; returns how many."""
    with transaction(db):
        again = "UPDATE message SET state = 'received', reason = NULL, lane = NULL WHERE state = 'parked'"
        if ids is None:
            return db.execute(again).rowcount
        return sum(db.execute(again + " AND id = ?", (one,)).rowcount for one in ids)
