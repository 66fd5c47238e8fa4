"""One JSON line a request on stdout, request identifiers, and the headers every answer carries."""

import json
import logging
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_log = logging.getLogger("yiyun_app.access")
SERVED_BY = "X-Served-By"
"""Answer header for users who are signed in: the host that answered, so that a drill can tell who did."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
}


class JsonFormatter(logging.Formatter):
    """A log record as one JSON object; exceptions by type and place, never values: they may name a person."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["trace"] = _places(record.exc_info[2])
        return json.dumps(line, ensure_ascii=False)


def _places(trace: Any) -> list[str]:
    places: list[str] = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-12:]


def configure_logging() -> None:
    """Send every log record as JSON lines to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True


class Observe:
    """ASGI middleware: logs the route's pattern, not the path or query, which may name a resident."""

    def __init__(self, app: ASGIApp, host: str = "") -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**SECURITY_HEADERS, "X-Request-Id": request_id}.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
                # Only for who has signed in: which host answered is nobody else's business.
                if self._host and scope["state"].get("username"):
                    headers[SERVED_BY] = self._host
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            _write(scope, status, time.perf_counter() - started)


def _write(scope: Scope, status: int, seconds: float) -> None:
    route = scope.get("route")
    state = scope.get("state", {})
    client = scope.get("client")
    access_log.info(
        "request",
        extra={
            "fields": {
                "request_id": state.get("request_id"),
                "method": scope["method"],
                "route": getattr(route, "path", "unmatched"),
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
                "user": state.get("username"),
                "peer": client[0] if client else None,
            }
        },
    )
