"""A full disk on a small disk in a file: it bites, it is undone, also where it never happened."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from infra.errors import YiyunError
from runbooks.drills.faults import disks
from runbooks.drills.faults.disks import DISK_FULL, MIB, filler_bytes
from runbooks.drills.faults.targets import DataDisk
from runbooks.drills.kinds import DiskFull
from tests.unit.runbooks.faults.local import place_at, run_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULT = DiskFull(kind="disk-full", host="db-1", service="mysql", left_mb=4)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """As a lab's data disks are made: ext4 in a file."""
    where, image = tmp_path / "data", tmp_path / "disk.img"
    where.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(where)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a loop device needs root")
    (where / "lost+found").rmdir()
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_the_filler_leaves_what_was_asked() -> None:
    assert filler_bytes(100 * MIB, 4) == 96 * MIB
    assert filler_bytes(3 * MIB, 4) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system in memory needs root")
def test_a_disk_is_full_until_it_is_undone(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(monkeypatch)
    monkeypatch.setattr(disks, "data_disk", lambda *_: DataDisk("db-1-data", str(disk)))
    place = place_at(tmp_path)
    order = DISK_FULL.order(FAULT, place)
    DISK_FULL.undo(order, place)
    assert DISK_FULL.is_undone(order, place), "where it never happened"
    assert not DISK_FULL.bites(FAULT, place)
    DISK_FULL.inject(FAULT, place)
    assert DISK_FULL.bites(FAULT, place)
    assert shutil.disk_usage(disk).free == pytest.approx(4 * MIB, abs=MIB / 2)
    with pytest.raises(OSError, match="No space"):
        (disk / "more").write_bytes(bytes(5 * MIB))
    (disk / "more").unlink()
    with pytest.raises(YiyunError, match="less than 4 MiB free"):
        DISK_FULL.inject(FAULT, place)
    DISK_FULL.undo(order, place)
    full = FAULT.model_copy(update={"left_mb": 0})
    DISK_FULL.inject(full, place)
    assert DISK_FULL.bites(full, place)
    with pytest.raises(OSError, match="No space"):
        (disk / "more").write_bytes(bytes(MIB))
    (disk / "more").unlink()
    for _ in range(2):
        DISK_FULL.undo(order, place)
        assert DISK_FULL.is_undone(order, place)
    assert list(disk.iterdir()) == []
