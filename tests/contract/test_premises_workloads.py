"""The workloads of the premises against the real collector, the real platform and a real MySQL."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from infra.trust.authority import LeafSpec, make_leaf, make_root
from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.history import read_history
from runbooks.drills.workloads import guests, hospital, line, premises, results
from runbooks.drills.workloads.elements import key_of
from tests.beds.platform import Platform, free_port, running_mysql, running_platform, sql
from tests.beds.workload import begin, end
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks.drills.evidence.history import Held, Operation

ROOT = Path(__file__).parents[2]
CLIENTS = 3
SENDER = "edge-1.test"
TABLES = ("observation_version", "observation", "resident_identifier", "resident", "idempotency_key")

pytestmark = pytest.mark.timeout(900)  # the server may have to be unpacked from a bundle that is built first


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_mysql(tmp_path_factory.mktemp("mysql")) as port:
        yield port


@pytest.fixture(scope="module")
def made(mysql: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(mysql, tmp_path_factory.mktemp("platform")) as platform:
        yield platform


@pytest.fixture
def platform(made: Platform) -> Platform:
    """It serves, whatever the test before did with it."""
    if made.process is None or made.process.poll() is not None:
        made.start()
    return made


@pytest.fixture
def residents(platform: Platform, mysql: int) -> Iterator[tuple[str, ...]]:
    """Residents as `guests` makes them, by the statements that it uses at a member."""
    assert platform.process
    sql(mysql, guests.LEAVE)
    assert set(rows(mysql).values()) == {0}, "whoever was here before has left"
    numbers = guests.record_numbers(CLIENTS)
    sql(mysql, guests.admission(numbers))
    sql(mysql, guests.links(numbers, results.MRN_SYSTEM))
    yield numbers
    sql(mysql, guests.LEAVE)


@dataclass
class Door:
    """Stands for the proxy: asks for a certificate, tells the platform its name, passes on the rest."""

    folder: Path
    port: int


@pytest.fixture
def door(platform: Platform, tmp_path: Path) -> Iterator[Door]:
    root = make_root("test")
    (tmp_path / "ca.crt").write_text(root.certificate)
    for name, spec in {
        "proxy": LeafSpec("app-1.test", addresses=("127.0.0.1",)),
        "collector": LeafSpec(SENDER),
    }.items():
        leaf = make_leaf(root, spec)
        (tmp_path / f"{name}.crt").write_text(leaf.certificate)
        (tmp_path / f"{name}.key").touch(mode=0o600)
        (tmp_path / f"{name}.key").write_text(leaf.key)
    with proxying(tmp_path, platform.port) as port:
        yield Door(tmp_path, port)


@contextmanager
def proxying(folder: Path, to: int) -> Iterator[int]:
    platform = httpx.Client(verify=False, base_url=f"https://127.0.0.1:{to}", timeout=8)  # noqa: S501

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            shown: Any = self.connection.getpeercert()  # type: ignore[attr-defined]
            common = dict(part[0] for part in shown["subject"])["commonName"]
            told = {"Idempotency-Key": self.headers["Idempotency-Key"], "X-Yiyun-Client": common}
            try:
                answer = platform.post(self.path, content=body, headers=told)
                status, content, by = (
                    answer.status_code,
                    answer.content,
                    answer.headers.get("X-Served-By", ""),
                )
            except httpx.HTTPError:
                status, content, by = 502, b"", ""
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Served-By", by)
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  a client that left is part of it
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "proxy.crt", folder / "proxy.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Collector:
    """The real one, in a folder of its own."""

    config: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self.command("serve")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """Its worker is a process of its own and ends with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def command(self, verb: str) -> list[str]:
        return [
            str(Path(sys.executable).with_name("yiyun-gateway")),
            verb,
            "--config",
            str(self.config),
        ]

    def left(self) -> int:
        """What `premises` makes of its status."""
        argv = [*self.command("status"), "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True)
        return premises.waiting(json.loads(done.stdout))


@pytest.fixture
def collector(door: Door) -> Iterator[Collector]:
    config, port = door.folder / "gateway.toml", free_port()
    config.write_text(
        f"""site = "edge-1"
[listen]
port = {port}
[store]
path = "{door.folder}/store.db"
[uplink]
urls = ["https://127.0.0.1:{door.port}"]
ca = "{door.folder}/ca.crt"
cert = "{door.folder}/collector.crt"
key = "{door.folder}/collector.key"
"""
    )
    made = Collector(config, port)
    made.start()
    yield made
    made.kill()


def posting(door: Door, residents: tuple[str, ...], history: Path) -> subprocess.Popen[str]:
    settings = line.Settings(
        doors=[line.Door(address="127.0.0.1", port=door.port, name="app-1.test")],
        ca=str(door.folder / "ca.crt"),
        certificate=str(door.folder / "collector.crt"),
        key=str(door.folder / "collector.key"),
        connect_timeout=1.0,
        answer_timeout=5.0,
        backoff_cap=0.5,
        site="edge-1",
        residents=list(residents),
        run="0123abcd",
        clients=CLIENTS,
        rate=20,
        seconds=60,
        seed=7,
    )
    return begin(line.__name__, settings, history)


def stored(mysql: int) -> Held:
    return results.held_at("db-1", lambda statement: sql(mysql, statement))


def acknowledged(history: Path) -> list[Operation]:
    return [op for op in read_history(history) if op.acknowledged]


def faults(history: Path, mysql: int) -> list[str]:
    return [v.fault for v in check(read_history(history), [stored(mysql)], 0).violations]


def rows(mysql: int) -> dict[str, int]:
    return {t: sql(mysql, f"SELECT JSON_ARRAY(COUNT(*)) FROM yiyun.{t}")[0] for t in TABLES}  # noqa: S608


def tell(door: Door, document: dict[str, Any], key: str) -> dict[str, Any]:
    """Post one document as the collector."""
    context = ssl.create_default_context(cafile=str(door.folder / "ca.crt"))
    context.load_cert_chain(door.folder / "collector.crt", door.folder / "collector.key")
    with httpx.Client(verify=context) as browser:
        url = f"https://127.0.0.1:{door.port}{line.PATH}"
        answer = browser.post(url, json=document, headers={"Idempotency-Key": key})
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def test_a_platform_killed_under_the_line_holds_each_acknowledged_result_once(
    platform: Platform, door: Door, residents: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    history = tmp_path / "history.jsonl"
    process = posting(door, residents, history)
    eventually(lambda: len(acknowledged(history)) > 10, seconds=30)
    platform.kill()
    time.sleep(1)  # an outage, as a drill has it
    platform.start()
    eventually(lambda: len(acknowledged(history)) > 40, seconds=30)
    end(process)
    assert faults(history, mysql) == []
    operations = read_history(history)
    assert any(op.tries > 1 and op.outcome == "ok" for op in operations), "asked again under the same key"
    assert {bool(op.member) for op in operations if op.outcome == "ok"} == {True}
    assert set(stored(mysql).lists) == {"list-0", "list-1", "list-2"}

    one = acknowledged(history)[0]
    sql(mysql, f"DELETE FROM yiyun.observation WHERE value = '{one.value}'")  # noqa: S608
    assert faults(history, mysql) == ["lost"]


def test_a_result_that_was_delivered_under_two_keys_or_became_a_version_is_doubled(
    door: Door, residents: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    """The platform would show it once: its own key of a result catches the second copy."""
    document = results.document("0123abcd", "edge-1", residents[0], 1, datetime.now(UTC))
    history = tmp_path / "history.jsonl"
    written = {"client": 0, "number": 0, "kind": "append", "target": "list-0", "value": 1, "outcome": "ok"}
    history.write_text(json.dumps({**written, "intended": 0, "began": 0, "ended": 1}) + "\n")
    assert faults(history, mysql) == ["lost"]
    tell(door, document, key_of("0123abcd", 1))
    assert tell(door, document, key_of("0123abcd", 1))["duplicate"] is True
    assert faults(history, mysql) == []
    tell(door, document, key_of("another", 1))
    shown = sql(mysql, "SELECT JSON_ARRAY(COUNT(*)) FROM yiyun.observation WHERE value = '1'")
    assert shown == [1]
    assert faults(history, mysql) == ["doubled"]
    sql(mysql, "DELETE FROM yiyun.idempotency_key")
    assert faults(history, mysql) == [], "what has no key is there all the same"
    document["orders"][0]["results"][0]["unit"] = "mmol/L"
    tell(door, document, key_of("0123abcd", 1))
    sql(mysql, "DELETE FROM yiyun.idempotency_key")
    assert faults(history, mysql) == ["doubled"], "another content under the same order is a version"


def test_leaving_removes_what_the_drill_stored_and_nothing_of_anybody_else(
    door: Door, residents: tuple[str, ...], mysql: int
) -> None:
    at = datetime.now(UTC)
    somebody = results.document("person00", "edge-1", "M1", 1, at)
    somebody["source"]["facility"] = "HIS-1"
    somebody["patient"] |= {
        "name": "王小东",
        "identifiers": [{"system": "urn:yiyun:mrn:HIS-1", "value": "M1"}],
    }
    tell(door, somebody, key_of("person", 1))
    somebody["orders"][0]["results"][0]["value"] = "corrected"
    tell(door, somebody, key_of("person", 2))
    theirs = {
        "observation": 1,
        "observation_version": 1,
        "resident": 1,
        "resident_identifier": 1,
        "idempotency_key": 2,
    }
    own = results.document("0123abcd", "edge-1", residents[0], 1, at)
    tell(door, own, key_of("0123abcd", 1))
    own["orders"][0]["results"][0]["unit"] = "mmol/L"
    tell(door, own, key_of("0123abcd", 2))
    added = {"resident": 3, "resident_identifier": 3, "idempotency_key": 2}
    assert rows(mysql) == {name: count + added.get(name, 1) for name, count in theirs.items()}
    sql(mysql, guests.LEAVE)
    assert rows(mysql) == theirs
    sql(mysql, guests.LEAVE)
    assert rows(mysql) == theirs, "as often as asked"

    late = results.document("0123abcd", "edge-1", residents[0], 2, at)
    assert tell(door, late, key_of("0123abcd", 3))["resident"] != residents[0]
    assert rows(mysql) != theirs, "a message that came too late opened a record"
    sql(mysql, guests.LEAVE)
    assert rows(mysql) == theirs
    for table in TABLES:
        sql(mysql, f"DELETE FROM yiyun.{table}")  # noqa: S608


def test_a_collector_killed_under_the_hospital_delivers_each_acknowledged_message_once(
    collector: Collector, residents: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    history = tmp_path / "history.jsonl"
    settings = hospital.Settings(
        address="127.0.0.1",
        port=collector.port,
        residents=list(residents),
        run="0123abcd",
        clients=CLIENTS,
        rate=20,
        seconds=60,
        seed=7,
    )
    process = begin(hospital.__name__, settings, history)
    eventually(lambda: len(acknowledged(history)) > 10, seconds=30)
    collector.kill()
    time.sleep(1)  # an outage, as a drill has it
    collector.start()
    eventually(lambda: len(acknowledged(history)) > 40, seconds=60)
    end(process)
    eventually(lambda: collector.left() == 0, seconds=30)
    assert faults(history, mysql) == []
    assert any(op.tries > 1 and op.outcome == "ok" for op in read_history(history))


def test_a_collector_says_what_it_could_not_deliver_yet(
    platform: Platform, collector: Collector, residents: tuple[str, ...], mysql: int, tmp_path: Path
) -> None:
    platform.kill()
    settings = hospital.Settings(
        address="127.0.0.1",
        port=collector.port,
        residents=list(residents),
        run="0123abcd",
        clients=1,
        rate=20,
        seconds=60,
        seed=7,
    )
    history = tmp_path / "history.jsonl"
    process = begin(hospital.__name__, settings, history)
    eventually(lambda: len(acknowledged(history)) > 5, seconds=30)
    end(process)
    assert collector.left() >= 5, "acknowledged, and nobody to deliver them to"
    assert "lost" in faults(history, mysql), "to read the members now would be too early"
    platform.start()
    eventually(lambda: collector.left() == 0, seconds=30)
    assert faults(history, mysql) == []
