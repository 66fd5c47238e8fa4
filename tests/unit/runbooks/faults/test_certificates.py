"""An expired leaf at a real TLS server: shown while the fault lasts, the old pair back afterwards."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from infra.trust.authority import LeafSpec, make_leaf, make_root
from infra.trust.material import Material
from runbooks.drills.faults import certificates
from runbooks.drills.faults.certificates import (
    CERTIFICATE_EXPIRED,
    expired_leaf,
    restore_script,
    save_script,
    shown_script,
)
from runbooks.drills.kinds import CertificateExpired
from tests.unit.runbooks.faults.local import place_at, run_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULT = CertificateExpired(kind="certificate-expired", host="app-1", service="proxy")
ROOT = make_root("lab")
SPEC = LeafSpec("app-1.lab", ("app-1",), ("10.20.1.10",))


def test_it_is_over_and_right_in_everything_else() -> None:
    leaf, good = expired_leaf(ROOT, SPEC), make_leaf(ROOT, SPEC)
    assert leaf.not_after < datetime.now(UTC) < good.not_after
    leaf.x509.verify_directly_issued_by(ROOT.x509)
    names = [
        p.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for p in (leaf, good)
    ]
    assert names[0] == names[1]


def sh(script: str) -> str:
    return subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True).stdout.strip()


def test_the_previous_pair_is_kept_once_and_comes_back_with_its_rights(tmp_path: Path) -> None:
    tls, saved = tmp_path / "tls", tmp_path / "saved"
    tls.mkdir()
    for ending, mode in (("crt", 0o644), ("key", 0o640)):
        (tls / f"proxy.{ending}").write_text(f"good {ending}")
        (tls / f"proxy.{ending}").chmod(mode)
    sh(save_script("proxy", str(saved), str(tls)))
    assert saved.stat().st_mode & 0o777 == 0o700
    (tls / "proxy.key").write_text("expired key")
    sh(save_script("proxy", str(saved), str(tls)))
    assert (saved / "proxy.key").read_text() == "good key", "a second time keeps the first"
    assert sorted(p.name for p in saved.iterdir()) == ["proxy.crt", "proxy.key"]
    sh(restore_script("proxy", str(saved), str(tls)))
    assert (tls / "proxy.key").read_text() == "good key"
    assert (tls / "proxy.key").stat().st_mode & 0o777 == 0o640


class Server:
    """Shows the pair that its files hold at each handshake."""

    def __init__(self, tls: Path) -> None:
        self.tls, self.plain = tls, socket.create_server(("127.0.0.1", 0))
        self.port = int(self.plain.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.plain.accept()
            except OSError:
                return
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            with connection, suppress(OSError):
                context.load_cert_chain(self.tls / "proxy.crt", self.tls / "proxy.key")
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    tls = tmp_path / "tls"
    tls.mkdir()
    good = make_leaf(ROOT, SPEC)
    (tls / "proxy.crt").write_text(good.certificate)
    (tls / "proxy.key").write_text(good.key)
    served = Server(tls)
    yield served
    served.plain.close()


def test_a_service_shows_it_until_it_is_undone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, place = run_here(monkeypatch), place_at(tmp_path)
    monkeypatch.setattr(certificates, "TLS", str(server.tls))
    monkeypatch.setattr(certificates, "SAVED", str(tmp_path / "saved"))
    monkeypatch.setattr(save_script, "__defaults__", (str(server.tls),))
    monkeypatch.setattr(restore_script, "__defaults__", (str(server.tls),))
    monkeypatch.setattr(certificates, "RELOADS", {"proxy": ()})
    monkeypatch.setattr(certificates, "leaf_port", lambda *_: server.port)
    monkeypatch.setattr(certificates, "host_addresses", lambda _: {"app-1": "127.0.0.1"})
    monkeypatch.setattr(Material, "root", lambda _: ROOT)
    monkeypatch.setattr(certificates, "TAKEN_UP_SECONDS", 0)
    before = (server.tls / "proxy.key").read_text()
    order = CERTIFICATE_EXPIRED.order(FAULT, place)
    CERTIFICATE_EXPIRED.undo(order, place)
    assert CERTIFICATE_EXPIRED.is_undone(order, place), "where it never happened"
    assert not CERTIFICATE_EXPIRED.bites(FAULT, place)
    CERTIFICATE_EXPIRED.inject(FAULT, place)
    assert CERTIFICATE_EXPIRED.bites(FAULT, place)
    assert not CERTIFICATE_EXPIRED.is_undone(order, place)
    expired = (server.tls / "proxy.key").read_text()
    for _ in range(2):
        CERTIFICATE_EXPIRED.undo(order, place)
        assert CERTIFICATE_EXPIRED.is_undone(order, place)
    assert (server.tls / "proxy.key").read_text() == before != expired
    told = " ".join(word for argv in asked for word in argv) + str(order)
    assert "PRIVATE KEY" not in told, "no key in an argument or an order"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("saved")] == []


def test_nobody_at_the_port_is_neither_good_nor_expired() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert sh(shown_script(f"127.0.0.1:{port}")) == ""
