"""A repository as it was at a moment, served to restic on this host: read only, by restic's own protocol.

Whoever has a host's keys can add, and so write over or hide what is there; the older versions stay under
their locks. restic reads newest versions only, so it is shown the others through this (REST backend, v2).
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from yiyun_backup.errors import BackupError
from yiyun_backup.store import Store

if TYPE_CHECKING:
    from collections.abc import Generator

    from yiyun_backup.store import Item, Place

KINDS = ("data", "index", "keys", "snapshots", "locks")
LISTING = "application/vnd.x.restic.rest.v2"
PART = re.compile(r"bytes=(\d+)-(\d*)")


@contextmanager
def rewound(place: Place, name: str) -> Generator[str]:
    """Serve a repository as of `place.as_of` until the block ends. Yields its address. Raises StoreError."""
    server = _Server(place, name)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"rest:http://127.0.0.1:{server.server_port}/{server.word}/"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, place: Place, name: str) -> None:
        self.word = secrets.token_urlsafe(24)
        """Nobody else on this host knows the address."""
        self.store, prefix = Store(place), f"restic/{name}/"
        self.files: dict[tuple[str, str], Item] = {}
        for item in self.store.list(prefix):
            kind, _, rest = item.key.removeprefix(prefix).partition("/")
            self.files[kind, rest.rpartition("/")[2]] = item
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _of(self) -> _Server:
        assert isinstance(self.server, _Server)  # noqa: S101  no other server makes these
        return self.server

    def do_HEAD(self) -> None:
        """Whether a file is there, and its size."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """A list of files, a file, or a part of one."""
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        word, _, path = self.path.lstrip("/").partition("/")
        if not secrets.compare_digest(word, self._of.word):
            self._send(404)
        elif path.endswith("/") and path[:-1] in KINDS:
            self._list(path[:-1])
        else:
            kind, _, name = path.partition("/")
            self._file(kind, name, with_body=with_body)

    def _list(self, kind: str) -> None:
        them = [
            {"name": name, "size": item.size}
            for (of, name), item in self._of.files.items()
            if of == kind and kind != "locks"
        ]
        self._send(200, json.dumps(them).encode(), {"Content-Type": LISTING})

    def _file(self, kind: str, name: str, *, with_body: bool) -> None:
        item = self._of.files.get((kind, name))
        if item is None:
            self._send(404)
            return
        if not with_body:
            self._send(200, b"", {"Content-Length": str(item.size)})
            return
        asked = PART.fullmatch(self.headers.get("Range", ""))
        part = f"{asked[1]}-{asked[2] or item.size - 1}" if asked else ""
        try:
            data = self._of.store.get(item.key, version=item.version, part=part)
        except BackupError as error:
            self._send(500, str(error).encode())
            return
        more = {"Content-Range": f"bytes {part}/{item.size}"} if part else {}
        self._send(206 if part else 200, data, more)

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name that http.server gives it
        """Nothing: the address is a secret."""
