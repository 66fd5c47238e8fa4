"""What the store holds, for people and for machines. Works while the gateway serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yiyun_gateway import store
from yiyun_gateway.documents import Composer, NotDeliverableError
from yiyun_gateway.hl7v2.header import NotHl7Error, peek

if TYPE_CHECKING:
    import sqlite3

    from yiyun_gateway.config import Config
    from yiyun_gateway.store import State


def _age_s(received_at: str | None) -> float | None:
    if received_at is None:
        return None
    return round((datetime.now(UTC) - datetime.fromisoformat(received_at)).total_seconds(), 3)


def status(db: sqlite3.Connection, config: Config) -> dict[str, Any]:
    """Return counts by state and sender, oldest waiting, last delivery, bytes and unmapped codes."""
    counts = dict.fromkeys(store.STATES, 0)
    senders: dict[str, dict[str, int]] = {}
    for sender, state, number in db.execute(
        "SELECT sender, state, count(*) FROM message GROUP BY sender, state"
    ):
        counts[state] += number
        senders.setdefault(sender, dict.fromkeys(store.STATES, 0))[state] = number
    (oldest,) = db.execute(
        "SELECT min(received_at) FROM message WHERE state IN ('received', 'parsed')"
    ).fetchone()
    (last,) = db.execute("SELECT max(delivered_at) FROM message WHERE state = 'delivered'").fetchone()
    (repeats,) = db.execute("SELECT coalesce(sum(repeats), 0) FROM message").fetchone()
    used = store.used_bytes(db)
    return {
        "site": config.site,
        "uplinks": list(config.uplink.urls),
        "counts": counts,
        "waiting": counts["received"] + counts["parsed"],
        "oldest_waiting_at": oldest,
        "oldest_waiting_s": _age_s(oldest),
        "last_delivered_at": last,
        "repeats": repeats,
        "bytes": used,
        "max_bytes": config.store.max_bytes,
        "accepting": used < config.store.max_bytes * (1 - store.RESERVE),
        "unmapped_codes": db.execute("SELECT count(*) FROM unmapped").fetchone()[0],
        "senders": senders,
    }


_COLUMNS = (
    "id, state, sender, control_id, message_type, received_at, delivered_at,"
    " repeats, reason, length(raw), key"
)
_NAMES: tuple[str, ...] = (
    "id",
    "state",
    "sender",
    "control_id",
    "message_type",
    "received_at",
    "delivered_at",
    "repeats",
    "reason",
    "bytes",
    "key",
)


def listing(db: sqlite3.Connection, state: State | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest `limit` messages (of one state), without their contents."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM message WHERE ? IS NULL OR state = ? ORDER BY id DESC LIMIT ?",  # noqa: S608 - constant columns
        (state, state, limit),
    )
    return [dict(zip(_NAMES, row, strict=True)) for row in rows]


def unmapped(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the codes nobody has mapped, most seen first."""
    names = ("facility", "code", "unit", "display", "first_seen", "last_seen", "seen", "example")
    rows = db.execute(f"SELECT {', '.join(names)} FROM unmapped ORDER BY seen DESC, facility, code")  # noqa: S608 - constant columns
    return [dict(zip(names, row, strict=True)) for row in rows]


def show(db: sqlite3.Connection, identity: int, config: Config, composer: Composer) -> dict[str, Any] | None:
    """Return one message with its raw text and what it is read as; None when there is no such id."""
    row = db.execute(f"SELECT {_COLUMNS}, raw FROM message WHERE id = ?", (identity,)).fetchone()  # noqa: S608 - constant columns
    if row is None:
        return None
    *values, raw = row
    found: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
    try:
        encoding = peek(raw, config.reading.encoding, config.reading.encoding_by_sender).encoding
    except NotHl7Error:
        encoding = None
    found["raw"] = raw.decode(encoding or config.reading.encoding, "backslashreplace")
    try:
        posts = composer.compose(raw, found["key"], found["received_at"]).posts
        found["documents"] = [{"key": post.key, "document": post.document} for post in posts]
    except NotDeliverableError as error:
        found["unreadable"] = str(error)
    return found
