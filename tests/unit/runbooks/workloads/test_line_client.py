"""The line's client against real doors that answer, cut, stall or refuse; its rules and the collector's."""

from __future__ import annotations

import json
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from infra.trust.authority import LeafSpec, make_leaf, make_root
from runbooks.drills.workloads.asking import Try
from runbooks.drills.workloads.elements import key_of
from runbooks.drills.workloads.line import (
    AWAY,
    PATH,
    REFUSED,
    Client,
    Door,
    Line,
    Settings,
    backoff,
    browser,
    judged,
)
from yiyun_gateway import uplink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runbooks.drills.evidence.history import Operation

NAMES = ("app-1.test", "app-2.test")
RECEIPT = json.dumps({"duplicate": False, "resident": "00000099900000001"}).encode()


@dataclass
class Server:
    """One of the platform's proxies. `script`: what each request gets, in order; then all are stored.

    A number is a status, `drop` closes without an answer, `slow` answers too late.
    """

    name: str
    port: int = 0
    script: list[int | str] = field(default_factory=list[int | str])
    seen: list[tuple[str, bytes, str, str]] = field(default_factory=list[tuple[str, bytes, str, str]])
    """Key, body, Host header, common name of the certificate shown."""

    @property
    def keys(self) -> list[str]:
        return [key for key, *_ in self.seen]


class Handler(BaseHTTPRequestHandler):
    """Answers by its server's script."""

    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        shown: Any = self.connection.getpeercert()  # type: ignore[attr-defined]
        common = dict(part[0] for part in shown["subject"])["commonName"]
        self.state.seen.append(
            (self.headers["Idempotency-Key"], body, self.headers["Host"], common) if self.path == PATH else ()  # type: ignore[arg-type]
        )
        word = self.state.script.pop(0) if self.state.script else 201
        if word == "drop":
            self.close_connection = True
            return
        if word == "slow":
            time.sleep(1.0)
        status = word if isinstance(word, int) else 201
        content = RECEIPT if status in {200, 201} and word != 200 else b"{}"
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Served-By", self.state.name)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(state: Server, context: ssl.SSLContext) -> Iterator[None]:
    handler = type("Own", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", state.port), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  a client that left is part of it
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, root = tmp_path_factory.mktemp("tls"), make_root("test")
    (folder / "ca.crt").write_text(root.certificate)
    (folder / "other.crt").write_text(make_root("other").certificate)
    for name in (*NAMES, "collector"):
        leaf = make_leaf(root, LeafSpec("edge-1.test" if name == "collector" else name))
        (folder / f"{name}.crt").write_text(leaf.certificate)
        (folder / f"{name}.key").touch(mode=0o600)
        (folder / f"{name}.key").write_text(leaf.key)
    return folder


def server_context(files: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files / "ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files / f"{name}.crt", files / f"{name}.key")
    return context


@pytest.fixture
def servers(files: Path) -> Iterator[list[Server]]:
    made = [Server(name) for name in NAMES]
    with serving(made[0], server_context(files, NAMES[0])), serving(made[1], server_context(files, NAMES[1])):
        yield made


def settings(files: Path, servers: list[Server], **more: Any) -> Settings:
    given = {
        "doors": [Door(address="127.0.0.1", port=s.port, name=s.name) for s in servers],
        "ca": str(files / "ca.crt"),
        "certificate": str(files / "collector.crt"),
        "key": str(files / "collector.key"),
        "connect_timeout": 0.5,
        "answer_timeout": 0.4,
        "backoff_cap": 0.2,
        "site": "edge-1",
        "residents": ["00000099900000001"],
        "run": "0123abcd",
        "patience": 3.0,
        "clients": 1,
        "rate": 10,
        "seconds": 1,
        "seed": 1,
    }
    return Settings.model_validate({**given, **more})


def sent(told: Settings, line: Line | None = None, number: int = 0) -> Operation:
    """One message of one client."""
    noted: list[Operation] = []
    Client(told, line or Line(told), 0, noted.append).one(number, time.monotonic(), threading.Event())
    return noted[0]


def test_a_result_is_posted_to_the_first_door_as_the_collector_would(
    files: Path, servers: list[Server]
) -> None:
    found = sent(settings(files, servers))
    assert (found.outcome, found.member, found.tries, found.value) == ("ok", "app-1.test", 1, 1)
    ((key, body, host, common),) = servers[0].seen
    assert (key, host, common) == (
        key_of("0123abcd", 1),
        f"app-1.test:{servers[0].port}",
        "edge-1.test",
    )
    assert json.loads(body)["orders"][0]["results"][0]["value"] == "1"
    assert servers[1].seen == []


@pytest.mark.parametrize("word", ["drop", "slow", 503])
def test_what_is_not_answered_is_asked_of_the_next_door_under_the_same_key_with_the_same_bytes(
    files: Path, servers: list[Server], word: str | int
) -> None:
    servers[0].script = [word]
    found = sent(settings(files, servers))
    assert (found.outcome, found.member, found.tries) == ("ok", "app-2.test", 2)
    assert found.error
    assert [s[:2] for s in servers[0].seen] == [s[:2] for s in servers[1].seen]


def test_a_door_that_failed_rests_and_is_used_again_when_it_answers(
    files: Path, servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbooks.drills.workloads.line._BASE_BACKOFF_S", 1.0)
    servers[0].script = ["drop"]
    told = settings(files, servers, backoff_cap=60.0)
    line = Line(told)
    assert sent(told, line).member == "app-2.test"
    assert sent(told, line, 1).member == "app-2.test", "it rests for 0.5 s at least"
    assert len(servers[0].seen) == 1
    time.sleep(1.0)
    assert sent(told, line, 2).member == "app-1.test"
    assert sent(told, line, 3).member == "app-1.test"


def test_of_a_door_that_failed_before_only_one_client_finds_out(files: Path, servers: list[Server]) -> None:
    servers[0].script = ["drop", "slow"]
    told = settings(files, servers)
    line = Line(told)
    assert sent(told, line).tries == 2
    time.sleep(0.12)
    trial = threading.Thread(target=lambda: sent(told, line, 1))
    trial.start()
    time.sleep(0.1)
    assert sent(told, line, 2).tries == 1, "it went to the second door at once"
    trial.join()


@pytest.mark.parametrize(("failures", "member"), [(1, "app-1.test"), (2, "app-2.test")])
def test_a_door_that_served_another_client_meanwhile_is_asked_once_more_before_the_next(
    files: Path, servers: list[Server], monkeypatch: pytest.MonkeyPatch, failures: int, member: str
) -> None:
    """The way changes during a try, which is lost with it; behind the second door a host stands still.

    But it may be this message alone that the first door cannot take.
    """
    told = settings(files, servers)
    line = Line(told)
    post, lost = line._http.post, [0]

    def way(*words: Any, **more: Any) -> Any:
        if lost[0] < failures and more["headers"]["Idempotency-Key"] == key_of(told.run, 3):
            lost[0] += 1
            if lost[0] == 1:
                assert sent(told, line, 1).member == "app-1.test", "the other client"
            raise httpx.ReadTimeout("no answer")
        return post(*words, **more)

    monkeypatch.setattr(line._http, "post", way)
    found = sent(told, line, 2)
    assert (found.outcome, found.member, found.tries) == ("ok", member, failures + 1)


def test_clients_that_one_outage_fails_together_are_one_failure(
    files: Path, servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, together = Line(settings(files, servers[:1], backoff_cap=60.0)), threading.Barrier(8)

    def way(*_: Any, **__: Any) -> Any:
        together.wait(5)
        raise httpx.ConnectTimeout("timed out")

    monkeypatch.setattr(line._http, "post", way)
    clients = [threading.Thread(target=line.post, args=(b"", str(n))) for n in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(10)
    assert 0 < line.wait() <= 0.1


def test_a_lane_waits_longer_each_time_only_after_answers_that_did_not_serve(
    files: Path, servers: list[Server]
) -> None:
    """The collector asks again as soon as a door is due when nobody was there."""
    told = settings(files, servers, backoff_cap=2.0)
    client = Client(told, Line(told), 0, lambda _: None)
    nobody = Try("fail", error="no way", again=True, away=True)
    assert {client.pause([nobody], 0), client.pause([nobody], 9), client.pause([], 9)} == {0.01}
    badly = Try("unknown", error="500", again=True)
    assert 0.05 <= client.pause([badly], 1) <= 0.1
    assert 1.0 <= client.pause([badly], 9) <= 2.0


def test_a_way_that_comes_back_is_found_and_the_write_is_acknowledged(files: Path) -> None:
    away = Server(NAMES[0])
    with serving(away, server_context(files, NAMES[0])):
        pass
    told = settings(files, [away])
    noted: list[Operation] = []
    client = Client(told, Line(told), 0, noted.append)
    sender = threading.Thread(target=client.one, args=(0, time.monotonic(), threading.Event()))
    sender.start()
    time.sleep(0.5)
    with serving(away, server_context(files, NAMES[0])):
        sender.join(10)
    assert noted[0].outcome == "ok"
    assert noted[0].tries > 2
    assert "ConnectError" in noted[0].error


@pytest.mark.parametrize("status", sorted(REFUSED))
def test_a_definite_no_is_not_asked_again(files: Path, servers: list[Server], status: int) -> None:
    servers[0].script = [status]
    found = sent(settings(files, servers))
    assert (found.outcome, found.error, found.tries) == ("fail", str(status), 1)
    assert servers[1].seen == []


def test_what_nobody_acknowledges_is_unknown_only_if_it_was_sent(files: Path, servers: list[Server]) -> None:
    servers[0].script = servers[1].script = ["drop"] * 100
    cut = sent(settings(files, servers, patience=0.5))
    assert cut.outcome == "unknown"
    assert cut.tries == len(servers[0].seen) + len(servers[1].seen)
    closed = [Server("app-1.test", 1)]
    assert sent(settings(files, closed, patience=0.3)).outcome == "fail"


def test_an_answer_that_is_no_receipt_acknowledges_nothing(files: Path, servers: list[Server]) -> None:
    servers[0].script = [200]  # of a proxy that answers for the platform
    found = sent(settings(files, servers))
    assert (found.outcome, found.member, found.error) == ("ok", "app-2.test", "200 without a receipt")


def test_a_door_of_another_authority_or_name_is_told_nothing(files: Path, servers: list[Server]) -> None:
    told = settings(files, servers[:1], ca=str(files / "other.crt"), patience=0.2)
    assert sent(told).outcome == "fail"
    door = Door(address="127.0.0.1", port=servers[0].port, name="app-9.test")
    assert sent(settings(files, servers, doors=[door], patience=0.2)).outcome == "fail"
    assert servers[0].seen == []


def test_files_that_cannot_be_read_are_said_at_once(files: Path, servers: list[Server]) -> None:
    with pytest.raises(OSError, match="No such file"):
        browser(settings(files, servers, key=str(files / "none.key")))


def test_an_answer_is_judged_as_the_collector_judges_it() -> None:
    for status in range(200, 600):
        for text in (RECEIPT.decode(), "{}", "<html>", "[]"):
            own, collectors = judged(status, text, "app-1"), uplink.judge(status, text).kind
            assert (own.outcome == "ok") == (collectors == "delivered")
            assert (own.outcome == "fail" and not own.again) == (collectors == "refused")
            assert (status in AWAY) == (collectors == "away")
            assert own.again == (collectors in {"retry", "away"})


def test_pauses_are_the_collectors() -> None:
    for failures in (1, 2, 3, 10, 40):
        assert backoff(failures, 2.0, 0.7) == uplink.backoff(failures, 2.0, lambda *_: 0.7)
