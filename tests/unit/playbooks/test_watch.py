"""The watcher: silence while the line is up is told; a cut line, and a fresh start, are not silence."""

from __future__ import annotations

import json
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.programs import load_program

SOURCE = Path(__file__).parents[3] / "playbooks/roles/watch/files/watch.py"
AFTER = 15.0


@pytest.fixture(scope="module")
def watch() -> Any:
    return load_program(SOURCE)


def history(watch: Any, *looks: tuple[float, bool, int | None]) -> list[str]:
    state = watch.State("ops-1", 0.0, "ok", 0.0, 0.0)
    seen: list[str] = []
    for now, line_up, processed in looks:
        state = watch.judge(state, now, line_up, processed, AFTER)
        seen.append(state.state)
    return seen


def test_a_server_that_processes_is_well(watch: Any) -> None:
    assert history(watch, (2, True, 10), (4, True, 20)) == ["ok", "ok"]


def test_silence_is_told_after_its_time_and_ends_with_the_next_beat(watch: Any) -> None:
    looks = [(2, True, 10), (10, True, None), (16.9, True, None), (17, True, None), (19, True, 11)]
    assert history(watch, *looks) == ["ok", "ok", "ok", "silent", "ok"]


def test_a_server_that_listens_and_processes_nothing_is_silent(watch: Any) -> None:
    assert history(watch, (2, True, 10), (18, True, 10)) == ["ok", "silent"]


def test_a_cut_line_is_not_the_servers_silence_and_time_begins_anew_after_it(watch: Any) -> None:
    looks = [(2, True, 10), (30, False, None), (60, False, None), (62, True, None), (76, True, None)]
    assert history(watch, *looks) == ["ok", "line-down", "line-down", "ok", "silent"]


def test_a_server_started_anew_counts_from_zero_and_is_well(watch: Any) -> None:
    assert history(watch, (2, True, 1000), (4, True, 3)) == ["ok", "ok"]


def test_speaks_zabbixs_protocol(watch: Any) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(65536))
            body = json.dumps({"response": "success", "data": {"wcache": {"values": {"all": 42}}}}).encode()
            connection.sendall(b"ZBXD\x01" + struct.pack("<II", len(body), 0) + body)

    thread = threading.Thread(target=answer)
    thread.start()
    assert watch.processed_values("127.0.0.1", server.getsockname()[1]) == 42
    thread.join()
    server.close()
    assert asked[0].startswith(b"ZBXD\x01")
    assert json.loads(asked[0][13:]) == {"request": "zabbix.stats"}


def test_a_server_that_refuses_or_talks_nonsense_gives_nothing(watch: Any) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    server.close()
    assert watch.processed_values("127.0.0.1", port) is None
