#!/usr/bin/python3
"""Data disks of a machine that existed before us: used only when they are there, and empty or ours.

`claim_data.py inspect|claim --owner TEXT MOUNT…`. A disk is ours when its marker names this estate and host.
`claim` writes the marker on an empty one and prints `changed` when it did. Exit 3 when a mount is refused:
it is no mounted file system, or holds what somebody else put there. Nothing is ever removed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

MARKER = ".yiyun-owner"
IGNORED = frozenset({"lost+found", MARKER})
REFUSED = 3


def problem_of(mount: Path, owner: str) -> str:
    """Why this mount cannot be used; empty when it can."""
    if not mount.is_dir() or not mount.is_mount():
        return f"{mount} is not a mounted file system; data would land on the system disk"
    marker = mount / MARKER
    found = marker.read_text(encoding="utf-8").strip() if marker.exists() else ""
    if found and found != owner:
        return f"{mount} belongs to {found}, not to {owner}"
    if not found and {p.name for p in mount.iterdir()} - IGNORED:
        return f"{mount} holds files that yiyun did not make; move them away yourself"
    return ""


def claim(mount: Path, owner: str) -> bool:
    """Mark an empty mount as ours; True when it was not marked yet."""
    marker = mount / MARKER
    if marker.exists():
        return False
    marker.write_text(f"{owner}\n", encoding="utf-8")
    return True


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["inspect", "claim"])
    parser.add_argument("--owner", required=True)
    parser.add_argument("mounts", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    problems = [p for p in (problem_of(m, options.owner) for m in options.mounts) if p]
    if problems:
        sys.stdout.write("; ".join(problems) + "\n")
        return REFUSED
    changed = [claim(m, options.owner) for m in options.mounts] if options.verb == "claim" else []
    sys.stdout.write("changed\n" if any(changed) else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
