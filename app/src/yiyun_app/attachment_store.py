"""Files of attachments in a folder that is a mounted bucket, or any folder of a machine that runs alone.

An object of a bucket appears as a whole when its writer has closed it. So a file is written once, under a
name that nobody knows before its row is stored: there is no temporary name, because renaming in a bucket is
copying, and leaves versions behind.
"""

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from pathlib import Path
from typing import TypeVar

from yiyun_app.errors import AttachmentDamagedError, AttachmentsUnavailableError

T = TypeVar("T")
SEEN_SECONDS = 3.0
"""How long another host may not see a new file yet (role object_mount: `object_mount_seen_after`)."""
_PAUSE = 0.2
_WAITING = 8
"""Calls that may be held by the folder at a time; more are refused at once."""
_log = logging.getLogger(__name__)


class AttachmentStore:
    """Saves and loads files, each within `seconds`, whatever the folder does: a mount may hold its callers.

    `mounted`: refuse a bare folder, whose files no other host would see.
    """

    def __init__(self, folder: Path, *, seconds: float, mounted: bool) -> None:
        self._folder = folder
        self._seconds = seconds
        self._mounted = mounted
        self._places = threading.BoundedSemaphore(_WAITING)

    def save(self, content: bytes) -> str:
        """Store a file and return its key. It is in the bucket when this returns.

        Raises AttachmentsUnavailableError; then a part may be left under a key that nobody uses.
        """
        key = secrets.token_hex(20)
        self._within(lambda: self._write(key, content))
        return key

    def load(self, key: str, sha256: bytes) -> bytes:
        """Return a file. Raises AttachmentsUnavailableError, or AttachmentDamagedError."""
        content = self._within(lambda: self._read(key))
        if hashlib.sha256(content).digest() != sha256:
            raise AttachmentDamagedError(f"attachment {key} is not what was stored")
        return content

    def _write(self, key: str, content: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, key: str) -> bytes:
        path, deadline = self._path(key), time.monotonic() + SEEN_SECONDS
        while True:
            try:
                return path.read_bytes()
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)

    def _path(self, key: str) -> Path:
        if self._mounted and not os.path.ismount(self._folder):
            raise NotADirectoryError(f"{self._folder} is not mounted")
        return self._folder / key[:2] / key[2:4] / key[4:]

    def _within(self, work: Callable[[], T]) -> T:
        """Run work in a thread of its own, and leave it behind when it takes too long."""
        if not self._places.acquire(blocking=False):
            raise AttachmentsUnavailableError("the folder holds its callers")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001  told to the one who waits
                future.set_exception(error)
            finally:
                self._places.release()

        threading.Thread(target=run, name="attachment", daemon=True).start()
        try:
            return future.result(self._seconds)
        except (LateError, OSError) as error:
            _log.warning("attachments unavailable: %s", error or type(error).__name__)
            raise AttachmentsUnavailableError(str(error) or "no answer in time") from error
