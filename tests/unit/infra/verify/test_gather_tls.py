"""Weak TLS is seen where it is: real servers on 127.0.0.1, one of each kind."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from infra.verify.suites.gather_tls import accepted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its RSA key: what key exchange without forward secrecy needs."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def serving(
    certificate: Path, lowest: ssl.TLSVersion, ciphers: str, *, mysql: bool = False
) -> Iterator[dict]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.load_cert_chain(certificate)
    context.minimum_version = lowest
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain = listener.accept()[0]
            except OSError:
                return
            try:
                if mysql:
                    plain.sendall(b"\x05\0\0\0hello")
                    assert len(plain.recv(36, socket.MSG_WAITALL)) == 36
                context.wrap_socket(plain, server_side=True).close()
            except OSError:
                plain.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield {
            "address": "127.0.0.1",
            "port": listener.getsockname()[1],
            "speaks": "mysql" if mysql else "",
        }
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("lowest", "ciphers", "weak"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:ECDHE+CHACHA20", []),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:ECDHE+AES", ["CBC"]),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:AES128-GCM-SHA256", ["no forward secrecy"]),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:ECDHE+eNULL", ["no encryption"]),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:AECDH-AES128-SHA", ["no authentication"]),
        (ssl.TLSVersion.TLSv1_1, "ECDHE+AESGCM:ECDHE+AES", ["TLS 1.1", "CBC"]),
        (ssl.TLSVersion.TLSv1, "ECDHE+AESGCM:ECDHE+AES", ["TLS 1.0", "TLS 1.1", "CBC"]),
    ],
)
def test_each_weakness_is_named(
    certificate: Path, lowest: ssl.TLSVersion, ciphers: str, weak: list[str]
) -> None:
    with serving(certificate, lowest, ciphers) as door:
        assert accepted(door) == weak


def test_mysql_is_asked_in_its_own_words(certificate: Path) -> None:
    with serving(certificate, ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:ECDHE+AES", mysql=True) as door:
        assert accepted(door) == ["CBC"]


def test_a_port_where_nobody_speaks_tls_is_not_a_good_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert accepted({"address": "127.0.0.1", "port": port}) == ["nobody"]
