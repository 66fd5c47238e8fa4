#!/usr/bin/python3
"""Take the set-user-id and set-group-id bits from all programs but those named, in a way that upgrades keep.

Prints `unchanged`, or the programs that lose (with --check: would lose) a bit, one a line.
"""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
import sys
from pathlib import Path

BITS = stat.S_ISUID | stat.S_ISGID


def privileged(root: Path) -> list[Path]:
    """Programs with one of the bits, on the system disk only."""
    device = root.stat().st_dev
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if _device(Path(folder) / f) == device]
        for name in files:
            path = Path(folder) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & BITS:
                found.append(path)
    return sorted(found)


def _device(path: Path) -> int:
    try:
        return path.lstat().st_dev
    except OSError:
        return -1


def take(path: Path) -> None:
    """Take the bits, and have dpkg leave them off."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode) & ~BITS
    argv = ["dpkg-statoverride", "--force-statoverride-add", "--add", "--update"]
    subprocess.run(
        [*argv, f"#{found.st_uid}", "#0", f"{mode:04o}", str(path)], check=True, capture_output=True
    )


def main() -> int:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kept", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--root", type=Path, default=Path("/usr"), help="where to look")
    options = parser.parse_args()
    wrong = [path for path in privileged(options.root) if path not in options.kept]
    if not options.check:
        for path in wrong:
            take(path)
    sys.stdout.write("\n".join(map(str, wrong)) + "\n" if wrong else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
