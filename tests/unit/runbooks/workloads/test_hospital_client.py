"""The hospital's client against a real door that acknowledges, drops, stalls, refuses or mistakes."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from runbooks.drills.workloads.hospital import END, START, Client, Settings, acknowledgement, judged
from runbooks.drills.workloads.results import filler_of
from yiyun_gateway.hl7v2.header import acknowledge, peek

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks.drills.evidence.history import Operation


@dataclass
class Collector:
    """Takes MLLP connections. `script`: what each message gets, in order; then all are acknowledged.

    `AE`, `AR`; `drop` closes without an answer, `slow` answers too late, `other` answers for another message
    before it answers for this one, `only-other` for another one only, `halves` in two pieces.
    """

    script: list[str] = field(default_factory=list[str])
    seen: list[bytes] = field(default_factory=list[bytes])
    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            buffer = b""
            while data := connection.recv(65536):
                buffer += data
                while END in buffer:
                    frame, _, buffer = buffer.partition(END)
                    if not self._answer(connection, frame.partition(START)[2]):
                        return

    def _answer(self, connection: socket.socket, raw: bytes) -> bool:
        self.seen.append(raw)
        word = self.script.pop(0) if self.script else "AA"
        if word == "drop":
            return False
        if word == "slow":
            time.sleep(0.6)
        other = re.sub(rb"MSA\|AA\|[^\r]*", b"MSA|AA|somebody-else", answer(raw, "AA"))
        if word in {"other", "only-other"}:
            connection.sendall(START + other + END)
        if word == "only-other":
            return True
        whole = START + answer(raw, word if word in {"AE", "AR"} else "AA") + END
        if word == "halves":
            connection.sendall(whole[:20])
            time.sleep(0.1)
            whole = whole[20:]
        connection.sendall(whole)
        return True


def answer(raw: bytes, code: Any) -> bytes:
    """As the collector itself acknowledges."""
    return acknowledge(peek(raw, "utf-8"), code, "" if code == "AA" else "store is full", datetime.now(UTC))


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    threading.Thread(target=made.run, daemon=True).start()
    yield made
    made.server.close()


def settings(port: int, **more: Any) -> Settings:
    given = {
        "address": "127.0.0.1",
        "port": port,
        "residents": ["00000099900000001"],
        "run": "0123abcd",
        "answer_timeout": 0.4,
        "patience": 5.0,
        "clients": 1,
        "rate": 10,
        "seconds": 1,
        "seed": 1,
    }
    return Settings.model_validate({**given, **more})


def sent(told: Settings, count: int = 1, stopped: threading.Event | None = None) -> list[Operation]:
    """Messages of one client."""
    noted: list[Operation] = []
    client = Client(told, 0, noted.append)
    for number in range(count):
        client.one(number, time.monotonic(), stopped or threading.Event())
    return noted


def test_messages_are_acknowledged_one_after_the_other_on_one_connection(collector: Collector) -> None:
    first, second = sent(settings(collector.port), 2)
    assert [(op.outcome, op.tries, op.value) for op in (first, second)] == [("ok", 1, 1), ("ok", 1, 2)]
    assert [peek(raw, "utf-8").control_id for raw in collector.seen] == [
        filler_of("0123abcd", n) for n in (1, 2)
    ]


@pytest.mark.parametrize("word", ["drop", "slow", "AE", "AR", "only-other"])
def test_what_is_not_acknowledged_is_sent_again_with_the_same_bytes(collector: Collector, word: str) -> None:
    collector.script = [word]
    (found,) = sent(settings(collector.port))
    assert (found.outcome, found.tries) == ("ok", 2)
    assert found.error
    assert len(collector.seen) == 2
    assert len(set(collector.seen)) == 1


@pytest.mark.parametrize("word", ["other", "halves"])
def test_an_acknowledgement_of_another_message_is_passed_over(collector: Collector, word: str) -> None:
    collector.script = [word]
    (found,) = sent(settings(collector.port))
    assert (found.outcome, found.tries) == ("ok", 1)


def test_an_acknowledgement_of_another_message_is_never_credited(collector: Collector) -> None:
    collector.script = ["only-other"] * 50
    (found,) = sent(settings(collector.port, patience=0.9))
    assert found.outcome == "unknown"


def test_a_late_acknowledgement_is_not_taken_for_the_next_message(collector: Collector) -> None:
    collector.script = ["slow", "AE", "AE", "AE"]
    (found,) = sent(settings(collector.port, patience=1.2))
    assert found.outcome == "unknown", "its connection was closed with it"


@pytest.mark.parametrize(
    ("script", "outcome"), [("drop", "unknown"), ("AE", "unknown"), ("AR", "fail"), ("slow", "unknown")]
)
def test_when_its_patience_ends_it_says_what_may_have_been_stored(
    collector: Collector, script: str, outcome: str
) -> None:
    collector.script = [script] * 50
    (found,) = sent(settings(collector.port, patience=0.7))
    assert (found.outcome, found.tries) == (outcome, len(collector.seen))


def test_a_collector_that_is_away_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    (closed,) = sent(settings(port, patience=0.3))
    assert (closed.outcome, closed.error.partition("(")[0]) == ("fail", "NotSentError")
    noted: list[Operation] = []
    client = Client(settings(port), 0, noted.append)
    sender = threading.Thread(target=client.one, args=(0, time.monotonic(), threading.Event()))
    sender.start()
    time.sleep(0.5)
    back = Collector(server=socket.create_server(("127.0.0.1", port)))
    threading.Thread(target=back.run, daemon=True).start()
    sender.join(10)
    back.server.close()
    assert noted[0].outcome == "ok"
    assert noted[0].tries > 1
    assert len(back.seen) == 1


def test_a_stop_lets_the_try_under_way_end(collector: Collector) -> None:
    collector.script = ["AE"] * 50
    stopped = threading.Event()
    stopped.set()
    (found,) = sent(settings(collector.port), stopped=stopped)
    assert (found.outcome, found.tries) == ("unknown", 1)


def test_an_acknowledgement_is_read_and_judged() -> None:
    assert acknowledgement(b"MSH|^~\\&|\rMSA|AA|C1\r") == ("AA", "C1", "")
    assert acknowledgement(b"MSH|^~\\&|\rMSA|AE|C1|store is full\r") == ("AE", "C1", "store is full")
    assert acknowledgement(b"") == ("", "", "")
    assert judged("AA", "").outcome == "ok"
    assert judged("", "").outcome == "unknown", "what is no acknowledgement says nothing"
