"""Values read from files and read anew when a file changed, so that secrets are rotated without a restart."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from yiyun_app.errors import UserError

T = TypeVar("T")
log = logging.getLogger("yiyun_app.watched")


class Watched(Generic[T]):
    """What `read` makes of some files. A change that cannot be used (half of a pair) keeps the old value."""

    def __init__(self, files: Sequence[Path], read: Callable[[], T]) -> None:
        """Read once; raises UserError when the files cannot be used."""
        self._files, self._read = tuple(files), read
        self._lock = threading.Lock()
        self._stamp = self._stamps()
        self._value = read()

    def __call__(self) -> T:
        """The value of now. Costs one `stat` a file while nothing changes."""
        stamp = self._stamps()
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._renew(stamp)
        return self._value

    def _renew(self, stamp: tuple[tuple[int, ...], ...]) -> None:
        names = [str(path) for path in self._files]
        try:
            self._value = self._read()
        except UserError as error:
            log.warning("a changed file cannot be used yet", extra={"fields": {"reason": str(error)}})
        else:
            log.info("files were read anew", extra={"fields": {"files": names}})
        self._stamp = stamp

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_stamp(path) for path in self._files)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ino, found.st_size)
