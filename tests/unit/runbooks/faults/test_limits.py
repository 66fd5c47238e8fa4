"""Limits by control groups, both versions: what is read, what is written, and what puts it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import YiyunError
from runbooks.drills.faults import cgroups, disks, memory
from runbooks.drills.faults.cgroups import Group, group_of
from runbooks.drills.faults.disks import SLOW_DISK, device_of, limits, probe_of, restore, seconds_of
from runbooks.drills.faults.memory import MEMORY_PRESSURE, lowered, times_met
from runbooks.drills.kinds import MemoryPressure, SlowDisk
from tests.unit.runbooks.faults.local import place_at, run_here

OWN = "/libpod_parent/libpod-cfd6"
OLD_MOUNTS = """\
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
34 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime shared:4 - cgroup cgroup rw,blkio
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
60 59 7:0 / /state/lab/mounts/db-1-data rw,noatime shared:19 - ext4 /dev/loop0 rw
61 59 7:9 / /state/lab/mounts/db-1-data rw,noatime shared:19 - ext4 /dev/loop9 rw
"""
OLD_MEMBERSHIP = f"""\
11:net_cls,net_prio:/
9:name=systemd:{OWN}/init.scope
7:blkio:{OWN}
4:memory:{OWN}/system.slice
0::{OWN}
"""
NEW_MOUNTS = "35 31 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
SCOPE = "/machine.slice/libpod-cfd6.scope"
NEW_MEMBERSHIP = f"0::{SCOPE}/container/init.scope\n"
SLOW = SlowDisk(kind="slow-disk", host="db-1", service="mysql", bytes_s=65536, iops=4)


def test_a_hosts_group_is_its_containers_own() -> None:
    for controller in ("memory", "blkio"):
        assert group_of(OLD_MOUNTS, OLD_MEMBERSHIP, controller) == Group(
            Path(f"/sys/fs/cgroup/{controller}{OWN}"), 1
        )
    assert group_of(NEW_MOUNTS, NEW_MEMBERSHIP, "memory") == Group(Path(f"/sys/fs/cgroup{SCOPE}"), 2)
    assert group_of("", OLD_MEMBERSHIP, "memory") is None


def test_this_machines_own_tables_can_be_read() -> None:
    mounts, mine = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
    found = group_of(mounts, mine, "memory")
    if found is None:
        pytest.skip("no control groups here")
    assert found.folder.is_dir()


def test_a_kernel_without_the_limit_is_named(tmp_path: Path) -> None:
    with pytest.raises(YiyunError, match=r"kernel cannot.*io\.max"):
        cgroups.read(Group(tmp_path, 2), "io.max")


def test_a_device_is_limited_both_ways_in_each_versions_words() -> None:
    assert limits(1, "7:0", 65536, 4) == [
        ("blkio.throttle.read_bps_device", "7:0 65536"),
        ("blkio.throttle.write_bps_device", "7:0 65536"),
        ("blkio.throttle.read_iops_device", "7:0 4"),
        ("blkio.throttle.write_iops_device", "7:0 4"),
    ]
    assert [name for name, _ in limits(1, "7:0", None, 4)] == [
        "blkio.throttle.read_iops_device",
        "blkio.throttle.write_iops_device",
    ]
    assert limits(2, "7:0", 65536, 4) == [("io.max", "7:0 rbps=65536 wbps=65536 riops=4 wiops=4")]


def test_what_was_limited_before_is_put_back_and_what_was_not_is_free() -> None:
    before = {"read": "7:1 10\n7:0 500", "write": "7:1 10"}
    assert restore(1, "7:0", before) == {"read": "7:0 500", "write": "7:0 0"}
    free = "7:0 rbps=max wbps=max riops=max wiops=max"
    assert restore(2, "7:0", {"io.max": ""}) == {"io.max": free}
    limited = "7:0 rbps=9 wbps=max riops=max wiops=max"
    assert restore(2, "7:0", {"io.max": limited}) == {"io.max": limited}


def test_the_newest_mount_of_a_place_names_its_device() -> None:
    assert device_of(OLD_MOUNTS, "/state/lab/mounts/db-1-data") == "7:9"
    assert device_of(OLD_MOUNTS, "/state/lab/mounts/db-2-data") is None


def test_the_probe_takes_half_a_second_at_least_where_the_limit_holds() -> None:
    for fault in (SLOW, SLOW.model_copy(update={"iops": None}), SLOW.model_copy(update={"iops": 1000})):
        block, count, seconds = probe_of(fault)
        assert seconds >= 0.5
        assert seconds < 3
        assert fault.iops is not None or block * count == pytest.approx(seconds * 65536)


def test_the_time_is_what_dd_says() -> None:
    said = "2+0 records in\n2+0 records out\n131072 bytes (131 kB, 128 KiB) copied, 1.98 s, 66.2 kB/s\n"
    assert seconds_of(said) == 1.98
    assert seconds_of("copied, 9.5e-05 s, 1 GB/s") == pytest.approx(9.5e-5)
    assert seconds_of("dd: failed") is None


class Tree:
    """A control group in a folder: files keep what is written, as the kernel's do."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.alive = folder, True
        monkeypatch.setattr(cgroups, "host_group", lambda *_: Group(folder, 1))
        monkeypatch.setattr(cgroups, "runs", lambda *_: self.alive)

    def __getitem__(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def __setitem__(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


def test_a_slow_disk_is_as_before_after_its_undo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, place = Tree(tmp_path, monkeypatch), place_at(tmp_path)
    monkeypatch.setattr(disks, "device_of", lambda *_: "7:0")
    for name, _ in limits(1, "7:0", 1, 1):
        tree[name] = ""
    order = SLOW_DISK.order(SLOW, place)
    assert SLOW_DISK.is_undone(order, place), "before it happened"
    SLOW_DISK.inject(SLOW, place)
    assert tree["blkio.throttle.write_bps_device"] == "7:0 65536"
    assert not SLOW_DISK.is_undone(order, place)
    for _ in range(2):
        SLOW_DISK.undo(order, place)
        assert tree["blkio.throttle.write_bps_device"] == "7:0 0"
        assert SLOW_DISK.is_undone(order, place)
    tree["blkio.throttle.read_iops_device"] = "7:0 4"
    tree.alive = False
    assert SLOW_DISK.is_undone(order, place), "a host that was started anew has another group"


STAT = "cache 9\ntotal_inactive_file 400000000\ntotal_active_file 15000000\ntotal_rss 470000000"


def test_the_limit_leaves_room_beside_what_cannot_be_dropped() -> None:
    now = {"memory.stat": STAT, "memory.usage_in_bytes": "950000000"}
    assert lowered(1, now, 16) == 535_000_000 + 16 * 1024 * 1024
    new = {"memory.stat": "anon 5\ninactive_file 30\nactive_file 20", "memory.current": "60"}
    assert lowered(2, new, 1) == 10 + 1024 * 1024


def test_how_often_a_limit_was_met_is_counted_by_the_kernel() -> None:
    assert times_met(1, "17") == 17
    assert times_met(2, "low 0\nhigh 0\nmax 23\noom 1\noom_kill 1") == 23


def test_memory_is_given_back_and_its_taker_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, place, asked = Tree(tmp_path, monkeypatch), place_at(tmp_path), list[list[str]]()
    monkeypatch.setattr(memory, "must", lambda _p, _h, argv: asked.append(argv))
    monkeypatch.setattr(memory, "said", lambda _p, _h, argv: asked.append(argv))
    monkeypatch.setattr(memory, "unit_state", lambda *_: "inactive")
    tree["memory.limit_in_bytes"], tree["memory.stat"] = "1576009728", STAT
    tree["memory.usage_in_bytes"] = "950000000"
    fault = MemoryPressure(kind="memory-pressure", host="db-1", left_mb=16)
    order = MEMORY_PRESSURE.order(fault, place)
    MEMORY_PRESSURE.inject(fault, place)
    assert int(tree["memory.limit_in_bytes"]) < 600_000_000
    assert not MEMORY_PRESSURE.is_undone(order, place)
    assert f"--unit={order['unit']}" in asked[0]
    MEMORY_PRESSURE.undo(order, place)
    assert tree["memory.limit_in_bytes"] == "1576009728"
    assert asked[-1] == ["systemctl", "stop", order["unit"]]
    assert MEMORY_PRESSURE.is_undone(order, place)


def test_a_host_that_has_less_left_already_is_not_pressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path, monkeypatch)
    tree["memory.limit_in_bytes"], tree["memory.stat"] = "540000000", STAT
    tree["memory.usage_in_bytes"] = "950000000"
    run_here(monkeypatch)
    with pytest.raises(YiyunError, match="less than 16 MiB left"):
        MEMORY_PRESSURE.inject(
            MemoryPressure(kind="memory-pressure", host="db-1", left_mb=16), place_at(tmp_path)
        )
    assert tree["memory.limit_in_bytes"] == "540000000"
