#!/usr/bin/python3
"""Bring a new certificate and new authorities into the running router, without a reload.

A reload would leave open sessions to the old process, which checks no member any more: a session that
stays on a lost writer then waits for its timeout. What is in use is told by the socket. One JSON object on
stdout: `changed`, and `done`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import socket
import ssl
import sys
from pathlib import Path

SOCKET = "/run/haproxy/admin.sock"


def ask(command: str, path: str = SOCKET) -> str:
    """Answer to one command. Raises OSError when the router does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def fingerprints(shown: str) -> set[str]:
    """SHA-1 fingerprints in the router's words (its own way to name a certificate)."""
    return {f.upper() for f in re.findall(r"^SHA1 FingerPrint: (\w+)$", shown, re.MULTILINE)}


def fingerprints_of(pem: str) -> list[str]:
    """SHA-1 fingerprints of every certificate of a file, in order."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    return [
        hashlib.sha1(ssl.PEM_cert_to_DER_cert(c), usedforsecurity=False).hexdigest().upper() for c in found
    ]


def replace(kind: str, name: str, payload: str) -> None:
    """Set and commit a file's new content. Raises RuntimeError with the router's words when it refuses."""
    text = "\n".join(line for line in payload.splitlines() if line)
    for command in (f"set ssl {kind} {name} <<\n{text}\n", f"commit ssl {kind} {name}"):
        answer = ask(command).strip()
        if not re.search(r"transaction (created|updated)|Success", answer, re.IGNORECASE):
            ask(f"abort ssl {kind} {name}")
            raise RuntimeError(f"{kind} {name}: {answer[-300:]}")


def main() -> int:
    """Entry point. Exit code 1: the router does not answer or refuses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", type=Path, required=True, help="its key is beside it, as .key")
    parser.add_argument("--authorities", type=Path, required=True)
    parser.add_argument("--check", action="store_true", help="change nothing, say what would be done")
    options = parser.parse_args()
    certificate = options.certificate.read_text(encoding="ascii")
    authorities = options.authorities.read_text(encoding="ascii")
    done: list[str] = []
    try:
        if set(fingerprints_of(authorities)) != fingerprints(ask(f"show ssl ca-file {options.authorities}")):
            done.append(str(options.authorities))
            if not options.check:
                replace("ca-file", str(options.authorities), authorities)
        if fingerprints_of(certificate)[0] not in fingerprints(ask(f"show ssl cert {options.certificate}")):
            done.append(str(options.certificate))
            if not options.check:
                key = options.certificate.with_suffix(".key").read_text(encoding="ascii")
                replace("cert", str(options.certificate), certificate + key)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"the router did not take it: {error}\n")
        return 1
    print(json.dumps({"changed": bool(done), "done": done}))  # noqa: T201 - the result
    return 0


if __name__ == "__main__":
    sys.exit(main())
