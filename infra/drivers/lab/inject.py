"""First packets put straight on a host's wire, past the fabric's filter: what an open fabric would deliver.

Nothing is opened for it: a packet socket of the router sends below its own firewall. Counting taps inside the
host's namespace say which packets its own firewall let in.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from typing import TYPE_CHECKING

from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.names import HOST_INTERFACE, port_name, qualified
from infra.drivers.lab.netlink import inside
from infra.drivers.lab.taps import ARRIVED_BUT_UNSEEN_S, install_tap, read_tap, remove_tap

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from infra.drivers.lab.taps import Connection

IPV4 = 0x0800
SYN = 0x02
PROTOCOLS = {"tcp": 6, "udp": 17}
EPHEMERAL = (32768, 60999)
"""Source ports, as a client's kernel would choose them."""
BURST = 64
"""Packets sent before the wire is given a moment; a veth's queue holds a thousand."""


def first_packet(connection: Connection, source_port: int) -> bytes:
    """The IPv4 packet that begins a connection: a SYN, or a datagram of eight bytes. Pure."""
    source, destination, protocol, port = connection
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    if protocol == "tcp":
        head = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, SYN, 65535, 0, 0)
        where = 16
    else:
        head = struct.pack("!HHHH", source_port, port, 16, 0) + b"probing!"
        where = 6
    number = PROTOCOLS[protocol]
    total = checksum(ends + struct.pack("!BBH", 0, number, len(head)) + head)
    payload = head[:where] + struct.pack("!H", total) + head[where + 2 :]
    bare = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, number, 0)
    return bare[:10] + struct.pack("!H", checksum(bare + ends)) + ends + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def inject(
    estate: str, router: str, host: str, wanted: Collection[Connection]
) -> tuple[frozenset[Connection], frozenset[Connection]]:
    """Deliver the first packet of each connection to a host past its router's filter.

    Returns (what arrived at the host, what its own firewall let in). The host's taps are taken out again.
    Raises YiyunError when a namespace cannot be used.
    """
    install_tap(estate, host, "input")
    try:
        _send(estate, router, host, wanted)
        deadline = time.monotonic() + ARRIVED_BUT_UNSEEN_S
        while True:
            seen, passed = read_tap(estate, host)
            if frozenset(wanted) <= seen or time.monotonic() > deadline:
                return seen, passed
            time.sleep(0.05)
    finally:
        remove_tap(estate, host)


def _send(estate: str, router: str, host: str, wanted: Collection[Connection]) -> None:
    mac = bytes.fromhex(_mac(estate, host).replace(":", ""))
    with inside(qualified(estate, router)):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with wire:
        wire.bind((port_name(host), 0))
        own = wire.getsockname()[4]
        for number, connection in enumerate(sorted(wanted), 1):
            port = random.randint(*EPHEMERAL)  # noqa: S311  a source port, not a secret
            wire.send(mac + own + struct.pack("!H", IPV4) + first_packet(connection, port))
            if number % BURST == 0:
                time.sleep(0.002)


def _mac(estate: str, host: str) -> str:
    shown = json.loads(in_router(estate, host, ["ip", "-json", "link", "show", "dev", HOST_INTERFACE]))
    return str(shown[0]["address"])


def inject_all(
    estate: str, wanted: Mapping[tuple[str, str], Collection[Connection]]
) -> dict[str, tuple[frozenset[Connection], frozenset[Connection]]]:
    """`inject` for several hosts. `wanted`: connections by (router, host). Answers by host."""
    return {host: inject(estate, router, host, connections) for (router, host), connections in wanted.items()}
