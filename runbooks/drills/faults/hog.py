"""Runs on a host: takes memory again and again, and is the first that the kernel kills for it.

`python3 -c PROGRAM MIB SECONDS`, this file as PROGRAM of a unit; so it holds no sign that systemd would
expand. Standard library only.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

MIB = 1024 * 1024
HELD_SECONDS = 5.0
PAUSE_SECONDS = 0.2


def main() -> None:
    """One child after another takes it all, until the time is over. A child that was killed is followed."""
    mib, until = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    while time.monotonic() < until:
        child = os.fork()
        if child == 0:
            take(mib, min(HELD_SECONDS, max(0.0, until - time.monotonic())))
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(PAUSE_SECONDS)


def take(mib: int, seconds: float) -> None:
    """Hold that much memory, every page of it written, for a time."""
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    held = [bytearray(b"\x01") * MIB for _ in range(mib)]
    time.sleep(seconds)
    held.clear()


if __name__ == "__main__":
    main()
