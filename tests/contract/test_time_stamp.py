"""A report's time stamp by a real authority (openssl's, on the loopback), and stamps that are refused."""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError, YiyunError
from runbooks.drills.reports.errors import RefusedReportError
from runbooks.drills.reports.stamp import ask, check, stamp_path

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
CONFIG = """[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
[leaf]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
basicConstraints = critical, CA:FALSE
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
"""


class Authority:
    """A time stamp authority with a root of its own, answering over HTTP."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "c").write_text(CONFIG)
        (folder / "serial").write_text("01\n")
        new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        root = ("-subj", "/CN=root", "-config", "/dev/null", "-keyout", "root.key", "-out", "root.pem")
        self.openssl(*new, "-x509", "-days", "2", "-extensions", "authority", *root, "-config", "c")
        leaf = ("-subj", "/CN=stamps", "-keyout", "key.pem", "-out", "leaf.csr", "-config", "c")
        self.openssl(*new, *leaf)
        signed = ("-in", "leaf.csr", "-CA", "root.pem", "-CAkey", "root.key", "-out", "leaf.pem")
        self.openssl("x509", "-req", *signed, "-days", "2", "-extfile", "c", "-extensions", "leaf")

    def openssl(self, *words: str) -> None:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def reply(self, query: bytes) -> bytes:
        (self.folder / "q").write_bytes(query)
        keys = ("-signer", "leaf.pem", "-inkey", "key.pem")
        self.openssl("ts", "-reply", "-config", "c", "-section", "one", "-queryfile", "q", *keys, "-out", "r")
        return (self.folder / "r").read_bytes()


@contextmanager
def serving(authority: Authority) -> Generator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = authority.reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_bytes(b'{"payload":"signed"}')
    return path


def test_a_stamp_is_kept_beside_the_report_and_believed_with_its_root(tmp_path: Path, report: Path) -> None:
    authority = Authority(tmp_path / "tsa")
    with serving(authority) as url:
        stamp = ask(report, url)
    assert not stamp.checked
    assert stamp_path(report).exists()
    again = ask(report, "http://127.0.0.1:9/")
    assert again == stamp, "one that is there stays"
    believed = check(report, (authority.folder / "root.pem",))
    assert (believed.at, believed.checked) == (stamp.at, True)


def test_another_root_another_report_and_an_altered_stamp_are_refused(tmp_path: Path, report: Path) -> None:
    authority, other = Authority(tmp_path / "tsa"), Authority(tmp_path / "other")
    with serving(authority) as url:
        ask(report, url)
    root = authority.folder / "root.pem"
    with pytest.raises(RefusedReportError, match="stamp"):
        check(report, (other.folder / "root.pem",))
    with pytest.raises(BadInputError, match="key"):
        check(report, (authority.folder / "key.pem",))
    data = stamp_path(report).read_bytes()
    stamp_path(report).write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    with pytest.raises(RefusedReportError, match="stamp"):
        check(report, (root,))
    stamp_path(report).write_bytes(data)
    report.write_bytes(b'{"payload":"other"}')
    for roots in ((), (root,)):
        with pytest.raises(RefusedReportError, match="stamp"):
            check(report, roots)


def test_an_authority_that_does_not_answer_is_named(report: Path) -> None:
    with pytest.raises(YiyunError, match="no time stamp from http"):
        ask(report, "http://127.0.0.1:9/")
    assert not stamp_path(report).exists()
