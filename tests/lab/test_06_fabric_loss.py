"""A lab that lost everything volatile, or whose making was killed, comes back by `realise` alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab import daemons, mounts
from infra.drivers.lab.hosts import containers, host_public_keys
from infra.drivers.lab.locate import run_in_host
from infra.drivers.lab.netlink import RUN_NETNS, exists
from infra.drivers.lab.prechecks import MachineUnfitError
from infra.drivers.lab.realise import leftovers, remove, stop
from tests.lab.fabric_bed import ESTATE, SSH_DOOR, Bed
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = [pytest.mark.lab, pytest.mark.root]


@pytest.fixture
def bed(tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Generator[Bed]:
    monkeypatch.setenv("YIYUN_STATE", str(tmp_path))
    bed = Bed(tmp_path)  # pyright: ignore[reportArgumentType]
    bed.record(with_balancer=True)
    try:
        yield bed
    finally:
        remove(bed.paths, bed.said.append)
        assert leftovers(ESTATE) == ()


def _namespaces() -> list[str]:
    return sorted(p.name for p in RUN_NETNS.glob(f"yy-{ESTATE}-*"))


def _greeting() -> bytes:
    with socket.create_connection(("127.0.0.1", SSH_DOOR), 5) as client:
        client.settimeout(5)
        return client.recv(8)


def _destroy_volatile(bed: Bed) -> None:
    names = list(containers(ESTATE))
    subprocess.run(["podman", "rm", "--force", "--time=0", *names], check=True, capture_output=True)
    for name in _namespaces():
        subprocess.run(["ip", "netns", "delete", name], check=True)
    mounts.unmount_below(bed.paths.lab)


def test_what_is_volatile_may_vanish_and_data_and_identity_stay(bed: Bed) -> None:
    bed.realise()
    keys = host_public_keys(bed.paths)
    assert set(keys) == {"a", "b", "e"}
    script = "echo data > /data/kept && echo system > /root/kept && cat /etc/machine-id && sync"
    identity = run_in_host(bed.paths, "b", ["sh", "-c", script]).stdout
    _destroy_volatile(bed)
    assert not _namespaces()
    assert bed.realise()
    kept = run_in_host(bed.paths, "b", ["cat", "/etc/machine-id", "/data/kept", "/root/kept"]).stdout
    assert kept == f"{identity}data\nsystem\n"
    assert host_public_keys(bed.paths) == keys
    assert _greeting() == b"SSH-2.0-"
    assert bed.realise() == ()

    pids = {name: c.pid for name, c in containers(ESTATE).items()}
    for name in _namespaces():
        subprocess.run(["ip", "netns", "delete", name], check=True)
    assert bed.realise()
    assert {name: c.pid for name, c in containers(ESTATE).items()} == pids, "hosts run on under a new network"
    assert _greeting() == b"SSH-2.0-"

    process = daemons.running(bed.paths, daemons.PUBLISHER)
    assert process is not None
    process.kill()
    process.wait(5)
    assert bed.realise() == ("publisher: started",)
    assert _greeting() == b"SSH-2.0-"

    stop(bed.paths, bed.said.append)
    assert leftovers(ESTATE) == ()
    bed.realise()
    assert run_in_host(bed.paths, "b", ["cat", "/data/kept"]).stdout == "data\n"
    bed.records.delete("Host", "e")
    bed.records.delete("SecurityGroup", "e")
    bed.realise()
    assert not exists(f"yy-{ESTATE}-e")
    assert f"yy-{ESTATE}-e" not in containers(ESTATE)
    assert not (bed.paths.lab / "hosts" / "e").exists()


def test_a_realise_killed_in_the_middle_is_completed_by_the_next(bed: Bed) -> None:
    program = (
        "from infra.drivers.lab.realise import realise; from infra.paths import EstatePaths; "
        f"realise(EstatePaths({ESTATE!r}), print)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], env=os.environ, start_new_session=True)
    eventually(lambda: bool(containers(ESTATE)), seconds=60)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    bed.realise()
    assert len([c for c in containers(ESTATE).values() if c.alive]) == 6
    assert _greeting() == b"SSH-2.0-"
    assert bed.realise() == ()


def test_a_taken_port_is_told_before_anything_is_made(bed: Bed) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", SSH_DOOR))
        other.listen()
        with pytest.raises(MachineUnfitError, match=f"port {SSH_DOOR} .* is taken") as caught:
            bed.realise()
    assert "lab.published.bastion" in caught.value.hint
    assert not _namespaces()
