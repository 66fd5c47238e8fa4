"""Stopped and started; then everything volatile gone, as after a reboot: the lab returns with its data."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import containers, run_in_host
from infra.drivers.lab.names import prefix, qualified
from tests.lab.hospital import arrive, new_results
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.lab.harness import Lab


def reboot(estate: str) -> None:
    """Remove what a reboot removes: containers and network namespaces. Disks stay."""
    names = subprocess.run(
        ["podman", "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
    ).stdout.split()
    for name in [n for n in names if n.startswith(prefix(estate))]:
        subprocess.run(["podman", "rm", "-f", "-t", "0", name], check=True, capture_output=True)
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for name in [line.split()[0] for line in listed.splitlines() if line.startswith(prefix(estate))]:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_stop_then_up_returns_everything(lab: Lab) -> None:
    orders = new_results(lab, 3)
    arrive(lab, orders)
    lab.on("db-1", "logger", "--tag", "yiyun-test", "said before the stop")
    assert lab.yiyun("lab", "stop").code == 0
    assert lab.yiyun("status").code == 1
    returned = lab.yiyun("lab", "up", "--yes")
    assert returned.code == 0, returned.json
    assert returned.json["status"]["problems"] == []
    arrive(lab, orders)
    journal = lab.on("db-1", "journalctl", "--identifier", "yiyun-test", "--output", "cat")
    assert journal.splitlines() == ["said before the stop"], "a host's journal is kept over its restart"


def test_a_reboot_loses_nothing_and_redeploys_nothing(lab: Lab) -> None:
    orders = new_results(lab, 3)
    arrive(lab, orders)
    reboot(lab.estate.estate)
    returned = lab.yiyun("lab", "up", "--yes")
    assert returned.code == 0, returned.json
    steps = {s["name"] for s in returned.json["steps"]}
    assert steps == {"machine", "realise", "reach", "recover"}
    arrive(lab, orders)
    assert lab.yiyun("preview", "--exit-code").code == 0


def test_both_app_hosts_restarted_at_once_come_back_by_themselves(lab: Lab) -> None:
    before = {host: boot_of(lab, host) for host in ("app-1", "app-2")}
    for host in before:
        run_in_host(lab.paths, host, ["systemctl", "soft-reboot"])
    eventually(lambda: all(boot_of(lab, host) > began for host, began in before.items()), seconds=90)
    eventually(lambda: lab.yiyun("status").json["problems"] == [], seconds=120, every=2.0)
    arrive(lab, new_results(lab, 1))
    assert lab.yiyun("drift").json["changes"] == []


def boot_of(lab: Lab, host: str) -> int:
    """When the host's user space finished starting, in microseconds of this machine's monotonic clock."""
    shown = run_in_host(lab.paths, host, ["systemctl", "show", "-P", "FinishTimestampMonotonic"]).stdout
    return int(shown or 0)


def test_a_host_whose_start_was_killed_half_way_is_opened_by_the_next_run(lab: Lab) -> None:
    """It runs, and may not set its own network up: found when a run was killed at that very moment."""
    gateway = containers(lab.estate.estate)[qualified(lab.estate.estate, "app-2")]
    closed = ["nsenter", f"--target={gateway.pid}", "--mount", "umount", "/proc/sys/net"]
    subprocess.run(closed, check=True, capture_output=True)
    forward = ["sysctl", "--write", "net.ipv4.ip_forward=1"]
    assert run_in_host(lab.paths, "app-2", forward).returncode != 0
    assert lab.yiyun("lab", "up", "--yes").code == 0
    assert run_in_host(lab.paths, "app-2", forward).returncode == 0
