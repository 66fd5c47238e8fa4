"""Runs on a host: paced writes into a folder, each timed; prints a JSON list. Standard library only.

Arguments: folder, prefix of the names, seconds to run, pause between operations (seconds), bytes a file.
An operation that takes longer than `GIVE_UP` is counted as hung and left behind in its thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

GIVE_UP = 60.0


def write(folder: Path, name: str, size: int) -> str:
    """Write a file as the platform does and return its hash."""
    content = os.urandom(size)
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return hashlib.sha256(content).hexdigest()


def once(folder: Path, name: str, size: int, results: list[dict[str, Any]]) -> None:
    """One write, and its outcome."""
    entry: dict[str, Any] = {"name": name, "at": time.time(), "error": "", "sha256": ""}
    began = time.monotonic()
    done = threading.Event()

    def run() -> None:
        try:
            entry["sha256"] = write(folder, name, size)
        except OSError as error:
            entry["error"] = error.strerror or str(error)
        done.set()

    threading.Thread(target=run, daemon=True).start()
    if not done.wait(GIVE_UP):
        entry["error"] = "hung"
    entry["seconds"] = round(time.monotonic() - began, 3)
    results.append(entry)


def main() -> None:
    """Write at the pace until the time is over."""
    folder, prefix = Path(sys.argv[1]), sys.argv[2]
    seconds, pause, size = float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    results: list[dict[str, Any]] = []
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        once(folder, f"{prefix}-{number:04d}", size, results)
        number += 1
        time.sleep(pause)
    sys.stdout.write(json.dumps(results))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
