"""Runs on a host beside `gather`: which old versions and weak ciphers a TLS port accepts. Changes nothing.

Alone, `python3 gather_tls.py ADDRESS PORT [mysql]` prints what is accepted, a name a line.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import warnings
from typing import Any

TLS = "/etc/yiyun/tls"
SECONDS = 3
CLIENT_SSL, PROTOCOL_41, SECURE_CONNECTION = 0x0800, 0x0200, 0x8000
"""Capabilities of a MySQL client (its documentation, "Connection Phase")."""

V = ssl.TLSVersion
OFFERS: dict[str, tuple[ssl.TLSVersion, str]] = {
    "TLS 1.0": (V.TLSv1, "ALL"),
    "TLS 1.1": (V.TLSv1_1, "ALL"),
    "no encryption": (V.TLSv1_2, "eNULL"),
    "no authentication": (V.TLSv1_2, "aNULL"),
    "CBC": (V.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM:!AESCCM8"),
    "no forward secrecy": (V.TLSv1_2, "kRSA"),
    "CAMELLIA, ARIA": (V.TLSv1_2, "CAMELLIA:ARIA"),
}
"""What nobody may accept: name → version, ciphers in OpenSSL's words. Offered one at a time, at security
level 0, so that a refusal is the server's and not the client's. OpenSSL has no RC4 and DES left."""


def accepted(door: dict[str, Any]) -> list[str]:
    """Names of the offers that were accepted, and `nobody` when the port does not speak TLS 1.2 or 1.3."""
    found = [
        name for name, (version, ciphers) in OFFERS.items() if handshake(door, version, version, ciphers)
    ]
    if not handshake(door, V.TLSv1_2, V.TLSv1_3, "ALL"):
        found.append("nobody")
    return found


def handshake(door: dict[str, Any], lowest: ssl.TLSVersion, highest: ssl.TLSVersion, ciphers: str) -> bool:
    """Whether a client that offers only this is let in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = lowest, highest
        if door.get("certificate"):
            context.load_cert_chain(f"{TLS}/{door['certificate']}.crt", f"{TLS}/{door['certificate']}.key")
    try:
        with socket.create_connection((door["address"], door["port"]), SECONDS) as plain:
            if door.get("speaks") == "mysql":
                ask_mysql_for_tls(plain)
            context.wrap_socket(plain).close()
    except (OSError, ValueError):
        return False
    return True


def ask_mysql_for_tls(plain: socket.socket) -> None:
    """Read MySQL's greeting and answer with the short packet that asks for TLS. Raises OSError."""
    head = plain.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        raise ConnectionError("no greeting")
    plain.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)
    body = struct.pack("<IIB23x", CLIENT_SSL | PROTOCOL_41 | SECURE_CONNECTION, 1 << 24, 45)
    plain.sendall(len(body).to_bytes(3, "little") + b"\x01" + body)


def main() -> None:
    """Try one port."""
    door = {"address": sys.argv[1], "port": int(sys.argv[2]), "speaks": "".join(sys.argv[3:4])}
    sys.stdout.write("".join(f"{name}\n" for name in accepted(door)))


if __name__ == "__main__":
    main()
