"""Mounts and loop devices below a folder: found by the kernel's own tables, never by what we remember."""

from __future__ import annotations

import re
from pathlib import Path

from infra.drivers.lab.commands import run


def share(folder: Path) -> None:
    """Make a folder a shared mount of its own, so that what is unmounted below it goes everywhere.

    Where the root mount is private (no systemd), each long-lived process in a mount namespace of its own
    (`ip netns exec`, a browser's sandbox) would otherwise keep a copy, and the disk with it.
    Done only while nothing is mounted there.
    """
    if mount_points(folder):
        return
    run(["mount", "--bind", str(folder), str(folder)])
    run(["mount", "--make-shared", str(folder)])


def mount_points(below: Path) -> list[Path]:
    """Mount points at or below a folder, the deepest first."""
    found: list[Path] = []
    root = str(below.resolve())
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        where = _unescape(line.split(" ")[4])
        if where == root or where.startswith(f"{root}/"):
            found.append(Path(where))
    return sorted(found, key=lambda p: len(p.parts), reverse=True)


def is_mounted(where: Path) -> bool:
    """True when something is mounted exactly there."""
    return where.resolve() in mount_points(where)


def loop_devices(below: Path) -> list[str]:
    """Loop devices whose image lies below a folder."""
    found: list[str] = []
    for note in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        image = note.read_text(encoding="utf-8").strip().removesuffix(" (deleted)")
        if image.startswith(f"{below.resolve()}/"):
            found.append(f"/dev/{note.parts[3]}")
    return found


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), field)


def unmount_below(folder: Path) -> list[str]:
    """Unmount everything at or below a folder. What is still in use goes as soon as its last user does."""
    changed: list[str] = []
    for where in mount_points(folder):
        if run(["umount", str(where)], check=False).returncode != 0:
            run(["umount", "--lazy", str(where)])
        changed.append(f"{where.name}: unmounted")
    return changed
