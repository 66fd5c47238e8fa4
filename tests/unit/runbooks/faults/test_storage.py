"""An object store that refuses: the stand-in over real connections, its way there in a network of its own."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab import daemons
from infra.trust.authority import LeafSpec, make_leaf, make_root
from runbooks.drills.faults import storage
from runbooks.drills.faults.refuser import BODY
from runbooks.drills.faults.storage import STAND_IN_PORT, STORAGE_REFUSING, chains, stand_in, status_of
from runbooks.drills.faults.tables import table_of
from runbooks.drills.faults.targets import store_of
from runbooks.drills.kinds import StorageRefusing
from tests.unit.runbooks.faults.local import LAB, place_at
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

KIB = 1024


def fault(mode: Literal["refusing", "absent", "half"] = "refusing") -> StorageRefusing:
    return StorageRefusing(kind="storage-refusing", store="own", mode=mode)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def standing_in(*words: str) -> Iterator[int]:
    """The stand-in as a process, its port free a moment ago."""
    port = free_port()
    mode, *rest = words
    command = [sys.executable, "-m", "runbooks.drills.faults.refuser", mode, str(port), *rest]
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: process.poll() is not None or reachable(port))
            yield port
        finally:
            process.terminate()
    assert process.returncode == 0, "asked to end, it ends in order"


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_every_request_is_answered_503_under_the_stores_name(tmp_path: Path) -> None:
    root = make_root("lab")
    leaf = make_leaf(root, LeafSpec("s3.lab", (), ("127.0.0.1",)))
    pem = tmp_path / "tls.pem"
    pem.write_text(leaf.certificate + root.certificate + leaf.key)
    trusting = ssl.create_default_context(cadata=root.certificate)
    with standing_in("refuse", str(pem)) as port:
        for method in ("GET", "PUT", "HEAD"):
            body = b"x" * 5000 if method == "PUT" else None
            request = urllib.request.Request(f"https://127.0.0.1:{port}/b/o", body, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=5, context=trusting)  # noqa: S310  https only
            assert refused.value.code == 503
            assert refused.value.read() == (b"" if method == "HEAD" else BODY)


def giving(octets: int) -> int:
    """A server that gives so many bytes to each connection; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.sendall(bytes(octets))
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


def taken(port: int) -> tuple[int, bool]:
    """(bytes that came, whether the connection was reset)."""
    came = 0
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(5)
        try:
            while data := connection.recv(65536):
                came += len(data)
        except ConnectionResetError:
            return came, True
    return came, False


def test_a_long_answer_is_cut_half_way_and_a_short_one_passes() -> None:
    with standing_in("half", str(giving(1000 * KIB)), "64") as port:
        came, reset = taken(port)
        assert reset, "not to be taken for the end"
        assert came <= 64 * KIB
    with standing_in("half", str(giving(10 * KIB)), "64") as port:
        assert taken(port) == (10 * KIB, False)


def test_a_store_that_is_gone_behind_it_is_gone_before_it() -> None:
    with standing_in("half", str(free_port()), "64") as port:
        came, _ = taken(port)
        assert came == 0


def test_the_stand_in_is_told_files_and_ports_and_no_key(tmp_path: Path) -> None:
    place, endpoint = place_at(tmp_path), store_of(LAB, "own")
    command = stand_in(fault(), place, endpoint).command
    assert command[:4] == ("ip", "netns", "exec", "yy-lab-s3-cn-north-1")
    assert command[-1].endswith("objectstore/cn-north-1/tls.pem")
    assert stand_in(fault("half"), place, endpoint).command[-4:] == ("half", str(STAND_IN_PORT), "443", "64")


def test_it_is_undone_where_it_never_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_at(tmp_path)
    there: set[str] = set()
    monkeypatch.setattr(storage, "remove", lambda order, _: there.discard(order["table"]))
    monkeypatch.setattr(storage, "absent", lambda order, _: order["table"] not in there)
    order = STORAGE_REFUSING.order(fault(), place)
    STORAGE_REFUSING.undo(order, place)
    assert STORAGE_REFUSING.is_undone(order, place)
    there.add(order["table"])
    sleeper = daemons.Daemon(order["stand_in"], ("sleep", "60"), "")
    daemons.ensure(place.paths, sleeper)
    assert not STORAGE_REFUSING.is_undone(order, place)
    STORAGE_REFUSING.undo(order, place)
    assert STORAGE_REFUSING.is_undone(order, place)
    assert list(daemons.run_folder(place.paths).iterdir()) == [], "no note and no log is left"


def test_what_a_store_answers_is_its_first_line() -> None:
    assert status_of(b"HTTP/1.1 503 Service Unavailable\r\n") == 503
    assert status_of(b"\x15\x03\x03") is None
    assert status_of(b"") is None


NETWORK = """
set -e
PATH=$PATH:/usr/sbin:/sbin
unshare --net sleep 30 & far=$!
trap 'kill $far $served $instead 2>/dev/null' EXIT
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link set lo up
ip link add here type veth peer name eth0 netns $far
ip addr add 10.9.9.1/24 dev here; ip link set here up
inside="nsenter --target=$far --net"
$inside sh -c 'ip link set lo up; ip addr add 10.9.9.2/24 dev eth0; ip link set eth0 up'
$inside python3 -c "$SERVER" 443 store & served=$!
$inside python3 -c "$SERVER" 8503 stand-in & instead=$!
ask() { python3 -c "$CLIENT" 10.9.9.2 443; }
ask
$inside nft -f "$TABLE"
ask
$inside python3 -c "$CLIENT" 127.0.0.1 443
$inside nft delete table inet yiyun_drill_x
ask
"""
SERVER = """
import socket, sys
listening = socket.create_server(("", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    connection.sendall(sys.argv[2].encode())
    connection.close()
"""
CLIENT = """
import socket, sys, time
for _ in range(40):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5) as asking:
            print(asking.recv(64).decode())
            break
    except TimeoutError:
        print("silence")
        break
    except OSError:
        time.sleep(0.05)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.parametrize(
    ("mode", "outside"), [("refusing", "stand-in"), ("half", "stand-in"), ("absent", "silence")]
)
def test_callers_from_outside_meet_the_fault_and_the_provider_does_not(
    mode: Literal["refusing", "absent", "half"], outside: str, tmp_path: Path
) -> None:
    table = tmp_path / "table.nft"
    table.write_text(table_of("yiyun_drill_x", chains(fault(mode), 443)))
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", NETWORK],
        env={**os.environ, "SERVER": SERVER, "CLIENT": CLIENT, "TABLE": str(table)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split("\n")[:4] == ["store", outside, "store", "store"], done.stderr
