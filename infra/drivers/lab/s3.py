"""Signed S3 requests to a lab's object stores as their owner, sent from inside the store's machine."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass

from infra.drivers.lab import hosts
from infra.drivers.lab.commands import run
from infra.errors import YiyunError

AUTHORITY = "/store/ca.pem"
"""The estate's authority, inside the store's machine."""


@dataclass(frozen=True)
class StoreAccess:
    """How to reach a region's object store as its owner. `secret_key` is a secret."""

    name: str
    """The store's resource and machine."""
    region: str
    server_name: str
    port: int
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        """Base URL."""
        return f"https://{self.server_name}:{self.port}"


def s3_call(
    access: StoreAccess, pid: int, method: str, path: str, body: str = "", headers: tuple[str, ...] = ()
) -> int:
    """HTTP status of one signed S3 request. 0 when nobody answers, or not under the store's certificate."""
    return s3_answer(access, pid, method, path, body, headers)[0]


def s3_answer(
    access: StoreAccess, pid: int, method: str, path: str, body: str = "", headers: tuple[str, ...] = ()
) -> tuple[int, str]:
    """HTTP status and body of one signed S3 request. `pid`: a process of the store's container.

    The secret goes by standard input, not by argument. Status 0 when nobody answers.
    """
    lines = [
        f'url = "{access.endpoint}{path}"',
        f'resolve = "{access.server_name}:{access.port}:127.0.0.1"',
        f'cacert = "{AUTHORITY}"',
        f'user = "{access.access_key}:{access.secret_key}"',
        f'aws-sigv4 = "aws:amz:{access.region}:s3"',
        'write-out = "\\n%{http_code}"',
        "silent",
        "max-time = 10",
        "head" if method == "HEAD" else f'request = "{method}"',
        *(f'header = "{h}"' for h in headers),
    ]
    if body:
        digest = base64.b64encode(hashlib.md5(body.encode(), usedforsecurity=False).digest()).decode()
        quoted = body.replace("\\", "\\\\").replace('"', '\\"')
        lines += [
            f'data = "{quoted}"',
            f'header = "Content-MD5: {digest}"',
            'header = "Content-Type: application/xml"',
        ]
    command = hosts.enter_command(pid, ["curl", "--config", "-"])
    said, _, status = run(command, stdin="\n".join(lines) + "\n", check=False).stdout.rpartition("\n")
    return int(status or 0), said


def wait_until_up(access: StoreAccess, pid: int, seconds: float = 15) -> None:
    """Wait until a store answers. Raises YiyunError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if s3_call(access, pid, "GET", "/") == 200:
            return
        time.sleep(0.1)
    raise YiyunError(f"the object store of {access.region} does not start", hint="run the same command again")
