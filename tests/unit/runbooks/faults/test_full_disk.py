"""A full disk on a small disk in memory: it bites, it is undone, also where it never happened."""

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
    where = tmp_path / "data"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "drill", str(where)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a file system in memory needs root")
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
    assert shutil.disk_usage(disk).free == 4 * MIB
    with pytest.raises(OSError, match="No space"):
        (disk / "more").write_bytes(bytes(5 * MIB))
    (disk / "more").unlink()
    with pytest.raises(YiyunError, match="less than 4 MiB free"):
        DISK_FULL.inject(FAULT, place)
    for _ in range(2):
        DISK_FULL.undo(order, place)
        assert DISK_FULL.is_undone(order, place)
    assert list(disk.iterdir()) == []
