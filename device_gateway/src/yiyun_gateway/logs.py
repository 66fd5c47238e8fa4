"""JSON lines on standard output. Only counts, ids and reasons: never a field of a patient."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def setup(level: str) -> None:
    """Send the gateway's log to standard output as one JSON object a line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "hl7"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def event(level: int, name: str, **fields: object) -> None:
    """Log an event with fields. The fields must not identify a patient."""
    logging.getLogger("yiyun_gateway").log(level, name, extra={"fields": fields})
