"""Parts the tests share: messages, a platform stub behind mutual TLS, a real `serve` process, a sender."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from yiyun_gateway import mllp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PAUSE = threading.Event()


def eventually(holds: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until `holds()` is true; fail with its last value at the deadline."""
    until = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < until, f"still {value!r} after {within_s} s"
        _PAUSE.wait(0.02)


def oru(control_id: str, *, patient: str = "P1", value: str = "5.6", code: str = "GLU") -> bytes:
    """Return an ORU^R01 with one glucose result."""
    return (
        f"MSH|^~\\&|LIS|HIS-1|YIYUN|EDGE|20260102080500+0800||ORU^R01^ORU_R01|{control_id}|P|2.5.1"
        "||||||UNICODE UTF-8\r"
        f"PID|1||{patient}^^^HIS^MR||王^小东||19600102|M\r"
        f"OBR|1|P{control_id}|F{control_id}|{code}^血糖|||20260102080000\r"
        f"OBX|1|NM|{code}^葡萄糖||{value}|mmol/L|3.9-6.1|N|||F\r"
    ).encode()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    """Strict verification (the default since Python 3.13) wants an authority to say that it signs."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(others, False),
    )


def _certificate(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    signer = issuer or (None, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer[0] else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(hours=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(_key_usage(authority=issuer is None), critical=True)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer[1].public_key()), critical=False
        )
    )
    if issuer is not None:
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return builder.sign(signer[1], hashes.SHA256()), key


def make_certificates(folder: Path) -> None:
    """Write ca.pem, server.pem/.key, client.pem/.key and a stranger's stranger.pem/.key into `folder`."""
    authority = _certificate("test CA", None)
    pairs = {
        "ca": authority,
        "server": _certificate("server", authority),
        "client": _certificate("edge-1", authority),
        "stranger": _certificate("stranger", _certificate("other CA", None)),
    }
    for name, (certificate, key) in pairs.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


class Platform:
    """The platform's endpoint over mutual TLS: effectively once by key, and as faulty as a script says.

    `faults` is asked once a request and may answer: "" (serve), "drop" (close before doing anything),
    "forget" (take it, close without an answer), "half" (take it, answer half), "page" (HTML), or a status.
    """

    def __init__(self, certificates: Path, port: int = 0) -> None:
        self.taken: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.requests = 0
        self.conflicts: list[str] = []
        self.faults: Callable[[int, dict[str, Any]], str] = lambda _number, _document: ""
        self.cut = False
        self._lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        context.load_verify_locations(certificates / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = _Server(("127.0.0.1", port), _handler(self), context, self)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def control_ids(self) -> list[str]:
        """The control ids of what was taken, in the order it was taken."""
        return [self.taken[key]["message_control_id"] for key in self.order]

    def take(self, key: str, document: dict[str, Any]) -> bool:
        """Take a document; True when its key was known. The same key with other content is a conflict."""
        with self._lock:
            if key in self.taken:
                if self.taken[key] != document:
                    self.conflicts.append(key)
                return True
            self.taken[key] = document
            self.order.append(key)
            return False

    def next_fault(self, document: dict[str, Any]) -> str:
        with self._lock:
            self.requests += 1
            return self.faults(self.requests, document)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: Any, handler: Any, context: ssl.SSLContext, platform: Platform) -> None:
        super().__init__(address, handler)
        self._context = context
        self._platform = platform

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self._platform.cut

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(10)
        try:
            with self._context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)  # type: ignore[arg-type]
        except OSError:
            return


def _handler(platform: Platform) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            fault = "drop" if platform.cut else platform.next_fault(document)
            if fault == "drop":
                self.close_connection = True
                return
            if fault.isdigit():
                self._answer(int(fault), json.dumps({"detail": "as scripted"}))
                return
            if fault == "page":
                self._answer(200, "<html>please log in</html>")
                return
            duplicate = platform.take(key, document)
            if fault == "forget":
                self.close_connection = True
                return
            body = json.dumps({"duplicate": duplicate, "path": self.path})
            self._answer(200 if duplicate else 201, body, half=fault == "half")

        def _answer(self, status: int, body: str, *, half: bool = False) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if half else data)
            self.close_connection = half

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    return Handler


@dataclass
class Gateway:
    """A real `yiyun-gateway serve` in its own process group, over a folder."""

    folder: Path
    urls: list[str]
    port: int = field(default_factory=free_port)
    store: str = ""
    listen: str = ""
    uplink: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "gateway.toml"

    def write_config(self) -> None:
        f = self.folder
        keys = f'ca = "{f}/ca.pem"\ncert = "{f}/client.pem"\nkey = "{f}/client.key"\n'
        self.config.write_text(
            f'site = "his-1"\n[listen]\nport = {self.port}\n{self.listen}\n'
            f'[store]\npath = "{f}/store.db"\n{self.store}\n'
            f"[uplink]\nurls = {json.dumps(self.urls)}\n{keys}{self.uplink}\n"
        )

    def start(self) -> None:
        self.write_config()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "yiyun_gateway", "serve", "--config", str(self.config)],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        eventually(self._accepts)

    def _accepts(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, *, group: bool) -> None:
        """SIGKILL the main process, or it and its worker at once."""
        assert self.process is not None
        os.kill(-self.process.pid if group else self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and the exit code must be 0."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(30) == 0

    def ensure_stopped(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill(group=True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same configuration."""
        return subprocess.run(
            [sys.executable, "-m", "yiyun_gateway", arguments[0],
             "--config", str(self.config), *arguments[1:]],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Messages by state, read beside the running gateway."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/store.db?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT state, count(*) FROM message GROUP BY state").fetchall())

    def drained(self) -> bool:
        return not {"received", "parsed"} & self.counts().keys()

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def logs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


class Sender:
    """A sending system: one connection, resends until AA names its control id."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def exchange(self, raw: bytes) -> bytes:
        """Send one frame and return the payload of the answer. Raises OSError when the connection breaks."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        self._socket.sendall(mllp.wrap(raw))
        return self.receive()

    def receive(self) -> bytes:
        assert self._socket is not None
        data = b""
        while not data.endswith(b"\x1c\r"):
            more = self._socket.recv(4096)
            if not more:
                raise ConnectionResetError
            data += more
        return data[1:-2]

    def insist(self, raw: bytes, control_id: str, until: float) -> None:
        """Send again and again until it is acknowledged AA."""
        while True:
            try:
                if f"MSA|AA|{control_id}".encode() in self.exchange(raw).split(b"\r"):
                    return
            except OSError:
                self.close()
            assert time.monotonic() < until, f"{control_id} never acknowledged"
            _PAUSE.wait(0.01)
