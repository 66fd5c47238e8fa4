"""A real S3 server with object lock, and a host's account that may add and not remove.

`YIYUN_TEST_S3` names the program (versitygw); without it the tests that need it skip.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from yiyun_backup.store import Place, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "backups"
SECONDS = 20
ON_BUCKET = (
    "GetBucketLocation",
    "ListBucket",
    "GetBucketVersioning",
    "ListBucketVersions",
    "ListBucketMultipartUploads",
)
ON_OBJECTS = (
    "GetObject",
    "GetObjectVersion",
    "PutObject",
    "AbortMultipartUpload",
    "ListMultipartUploadParts",
    "GetObjectRetention",
    "PutObjectRetention",
)
"""What a host's account may do."""


def program() -> str | None:
    """The server, as given."""
    return os.environ.get("YIYUN_TEST_S3") or None


@dataclass
class Region:
    """One server with one bucket. `owner`: a store with the keys that no host has."""

    name: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    secrets: dict[str, str] = field(default_factory=lambda: {"owner": "o" * 24, "host": "h" * 24})

    def store(self, account: str = "host") -> Store:
        secret = self.folder / f"{account}.secret"
        secret.write_text(self.secrets[account])
        endpoint = f"https://127.0.0.1:{self.port}"
        return Store(Place(self.name, endpoint, BUCKET, account, secret, self.folder / "ca.pem"))

    def start(self) -> None:
        keys = {"ROOT_ACCESS_KEY": "owner", "ROOT_SECRET_KEY": self.secrets["owner"]}
        argv = [program() or "", "--quiet", "--port", f"127.0.0.1:{self.port}", "--region", self.name]
        argv += ["--cert", str(self.folder / "tls.pem"), "--key", str(self.folder / "tls.pem")]
        argv += ["--iam-dir", str(self.folder / "accounts"), "--iam-cache-disable", "--keep-alive"]
        argv += ["posix", "--versioning-dir", str(self.folder / "versions"), str(self.folder / "objects")]
        self.process = subprocess.Popen(argv, env={**os.environ, **keys}, stdout=subprocess.DEVNULL)
        limit = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < limit
                time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(SECONDS)

    def make_bucket(self) -> None:
        """Under object lock, open to the host's account."""
        owner = self.store("owner")._client
        owner.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        allow = {"Effect": "Allow", "Principal": {"AWS": ["host"]}}
        statements = [
            {**allow, "Action": [f"s3:{a}" for a in ON_BUCKET], "Resource": [f"arn:aws:s3:::{BUCKET}"]},
            {**allow, "Action": [f"s3:{a}" for a in ON_OBJECTS], "Resource": [f"arn:aws:s3:::{BUCKET}/*"]},
            {**allow, "Action": ["s3:DeleteObject"], "Resource": [f"arn:aws:s3:::{BUCKET}/restic/*/locks/*"]},
        ]
        policy = {"Version": "2012-10-17", "Statement": statements}
        owner.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))

    def empty(self) -> None:
        """The bucket as it was when it was new, whatever is locked in it."""
        self.stop()
        for part in ("objects", "versions"):
            shutil.rmtree(self.folder / part / BUCKET, ignore_errors=True)
        self.start()
        self.make_bucket()


@contextmanager
def regions(folder: Path, *names: str) -> Iterator[dict[str, Region]]:
    """Servers, each with its bucket under object lock."""
    with ExitStack() as stack:
        made: dict[str, Region] = {}
        for name in names:
            region = made[name] = Region(name, folder / name, free_port())
            for part in ("objects", "versions", "accounts"):
                (region.folder / part).mkdir(parents=True)
            _certify(region.folder)
            account = {"access": "host", "secret": region.secrets["host"], "role": "user"}
            users = {"accessAccounts": {"host": {**account, "userID": 0, "groupID": 0}}}
            (region.folder / "accounts/users.json").write_text(json.dumps(users))
            region.start()
            stack.callback(region.stop)
            region.make_bucket()
        yield made


def in_a(**time_from_now: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**time_from_now)


def _certify(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(text)
    (folder / "tls.pem").write_bytes(text + secret)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as opened:
        return int(opened.getsockname()[1])
