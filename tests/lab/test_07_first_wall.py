"""The first wall does not stall the connections that stand, because `track` came before it."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab import netlink
from infra.drivers.lab.netlink import inside
from tests.programs import load_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SOURCE = Path(__file__).parents[2] / "playbooks/roles/host_firewall/files/host_wall.py"
OWNER = "walltest"
BASTION, HOST = "yv-walltest-bastion", "yv-walltest-host"
ADDRESSES = {BASTION: "10.250.0.1", HOST: "10.250.0.2"}
WALL = """\
table inet wall {
    chain input {
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        ct state established,related accept
    }
}
"""
KEEPALIVE_SECONDS = 1.0


@pytest.fixture
def wire() -> Iterator[None]:
    """A bastion and a host behind it."""
    for name in ADDRESSES:
        netlink.delete(name)
        netlink.create(name, OWNER)
    veth = ["type", "veth", "peer", "name", "e0", "netns", HOST]
    subprocess.run(["ip", "-n", BASTION, "link", "add", "e0", *veth], check=True)
    for name, address in ADDRESSES.items():
        subprocess.run(["ip", "-n", name, "addr", "add", f"{address}/30", "dev", "e0"], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "e0", "up"], check=True)
    yield
    for name in ADDRESSES:
        netlink.delete(name)


@pytest.fixture
def program() -> ModuleType:
    return load_program(SOURCE)


def answer_after(*before_the_wall: str) -> float:
    """Seconds an answer needs on a standing connection of the bastion, after its wall was put up.

    `before_the_wall`: rules that are loaded, and seen by one exchange, before.
    """
    with inside(HOST):
        listener = socket.create_server((ADDRESSES[HOST], 22))
    with inside(BASTION):
        client = socket.create_connection((ADDRESSES[HOST], 22), 5)
    server, _ = listener.accept()
    with listener, client, server:
        exchange(client, server)
        for rules in before_the_wall:
            load(rules)
            exchange(client, server)
        load(WALL)
        began = time.monotonic()
        keepalive = threading.Timer(KEEPALIVE_SECONDS, lambda: client.sendall(b"k"))
        keepalive.start()
        server.sendall(b"a")
        client.settimeout(60)
        assert client.recv(1) == b"a"
        took = time.monotonic() - began
        keepalive.join()
    return took


def load(rules: str) -> None:
    argv = ["ip", "netns", "exec", BASTION, "nft", "--file", "-"]
    subprocess.run(argv, input=rules, text=True, check=True)


def exchange(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"q")
    assert server.recv(1) == b"q"
    server.sendall(b"a")
    assert client.recv(1) == b"a"


@pytest.mark.usefixtures("wire")
def test_a_standing_connection_goes_on_at_once_when_it_was_tracked(program: ModuleType) -> None:
    assert answer_after(program.TRACK) < KEEPALIVE_SECONDS / 2


@pytest.mark.usefixtures("wire")
def test_without_it_the_answer_waits_for_the_next_question() -> None:
    assert answer_after() > KEEPALIVE_SECONDS
