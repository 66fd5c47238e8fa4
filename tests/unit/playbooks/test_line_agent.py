"""The line's agent: when a path is lost, when it is good again, and which one is used."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "playbooks/roles/line_peer/files/line_agent.py"
ORDER = ["ops-1", "app-2"]


@pytest.fixture(scope="module")
def agent() -> ModuleType:
    return load_program(SOURCE)


def health(agent: ModuleType, *results: float | None):
    found = agent.Health()
    for result in results:
        found.observe(result, agent.Rules(lost_after=3, good_after=6))
    return found


def test_a_path_is_down_until_its_first_answer(agent: ModuleType) -> None:
    assert not health(agent).up
    assert not health(agent, None).up
    assert health(agent, None, 4.0).up


def test_two_lost_probes_do_not_lose_the_path_but_three_do(agent: ModuleType) -> None:
    assert health(agent, 1.0, None, None).up
    assert not health(agent, 1.0, None, None, None).up


def test_loss_is_seen_within_one_and_a_half_seconds_by_the_roles_defaults(agent: ModuleType) -> None:
    text = (SOURCE.parents[1] / "defaults/main.yml").read_text()
    values = dict(line.split(": ") for line in text.splitlines() if line.startswith("line_"))
    assert float(values["line_probe_seconds"]) * int(values["line_lost_after"]) <= 1.5


def test_a_lost_path_needs_six_answers_in_a_row(agent: ModuleType) -> None:
    lost = [1.0, None, None, None]
    assert not health(agent, *lost, *[1.0] * 5).up
    assert not health(agent, *lost, *[1.0] * 5, None, *[1.0] * 5).up
    assert health(agent, *lost, *[1.0] * 6).up


def paths_up(agent: ModuleType, *up: str):
    return {name: agent.Health(up=name in up) for name in ORDER}


def test_the_preferred_path_is_taken_first(agent: ModuleType) -> None:
    assert agent.choose(None, ORDER, paths_up(agent, "ops-1", "app-2")) == "ops-1"


def test_the_other_path_is_taken_when_the_active_one_is_lost(agent: ModuleType) -> None:
    assert agent.choose("ops-1", ORDER, paths_up(agent, "app-2")) == "app-2"


def test_nothing_moves_back_when_the_preferred_path_returns(agent: ModuleType) -> None:
    assert agent.choose("app-2", ORDER, paths_up(agent, "ops-1", "app-2")) == "app-2"


def test_nothing_moves_when_no_path_is_up(agent: ModuleType) -> None:
    assert agent.choose("app-2", ORDER, paths_up(agent)) == "app-2"
    assert agent.choose(None, ORDER, paths_up(agent)) is None


def test_an_echo_request_has_a_checksum_that_sums_to_zero(agent: ModuleType) -> None:
    packet = agent.echo_request(0x1234, 7)
    assert agent.checksum(packet) == 0
    assert agent.checksum(packet[:-1] + b"\x08") != 0


def ip_packet(kind: int, identity: int, sequence: int) -> bytes:
    return bytes([0x45]) + bytes(19) + struct.pack("!BBHHH", kind, 0, 0, identity, sequence)


def test_only_answers_to_this_agent_count(agent: ModuleType) -> None:
    assert agent.reply_sequence(ip_packet(0, 5, 9), 5) == 9
    assert agent.reply_sequence(ip_packet(8, 5, 9), 5) is None
    assert agent.reply_sequence(ip_packet(0, 6, 9), 5) is None
    assert agent.reply_sequence(b"", 5) is None
    assert agent.reply_sequence(ip_packet(0, 5, 9)[:24], 5) is None


def test_an_answer_of_an_earlier_round_counts_with_its_own_time(agent: ModuleType) -> None:
    now = time.monotonic()
    ours, theirs = socket.socketpair()
    path = tunnels(agent)[0]
    prober = agent.Prober(
        [path], identity=5, sequence=9, sent={8: now - 0.4, 9: now}, sockets={"ops-1": ours}
    )
    with ours, theirs:
        theirs.send(ip_packet(0, 5, 8))
        result: dict[str, float | None] = {"ops-1": None}
        waiting = {ours: path}
        prober._receive(ours, waiting, result)
    assert result["ops-1"] is not None
    assert result["ops-1"] >= 400
    assert ours in waiting


def tunnels(agent: ModuleType):
    return [
        agent.TunnelPath("ops-1", "wg0", "10.99.0.2", "10.99.0.1"),
        agent.TunnelPath("app-2", "wg1", "10.99.0.6", "10.99.0.5"),
    ]


def test_the_route_names_the_tunnels_own_source_address(agent: ModuleType) -> None:
    command = agent.route_command("10.20.0.0/16", tunnels(agent)[1])
    assert command == [
        "ip",
        "route",
        "replace",
        "10.20.0.0/16",
        "dev",
        "wg1",
        "src",
        "10.99.0.6",
        "metric",
        "50",
    ]


def test_the_state_file_says_which_path_is_in_use(agent: ModuleType, tmp_path: Path) -> None:
    healths = {"ops-1": agent.Health(up=False), "app-2": agent.Health(up=True, rtt_ms=2.5)}
    state = agent.state_of(tunnels(agent), healths, {"app-2": 12.0}, "app-2", 1000.0)
    agent.write_state(state, tmp_path / "line.json")
    read = json.loads((tmp_path / "line.json").read_text())
    assert (read["up"], read["path"]) == (True, "app-2")
    assert read["paths"][1] == {
        "name": "app-2",
        "interface": "wg1",
        "up": True,
        "active": True,
        "rtt_ms": 2.5,
        "handshake_age_s": 12.0,
    }


def test_the_line_is_down_when_its_path_is(agent: ModuleType) -> None:
    healths = {"ops-1": agent.Health(), "app-2": agent.Health()}
    assert not agent.state_of(tunnels(agent), healths, {}, "ops-1", 0.0)["up"]
    assert not agent.state_of(tunnels(agent), healths, {}, None, 0.0)["up"]


def test_the_other_region_is_called_after_a_while_without_any_answer_and_then_this_one(
    agent: ModuleType,
) -> None:
    region = agent.Region(count=2, patience=15.0)
    assert not region.turn(100.0, answers=False)
    assert not region.turn(114.9, answers=False)
    assert region.turn(115.0, answers=False)
    assert region.index == 1
    assert not region.turn(129.0, answers=False), "the other one is given as long"
    assert region.turn(130.0, answers=False)
    assert region.index == 0


def test_an_answer_keeps_the_region_and_begins_the_patience_anew(agent: ModuleType) -> None:
    region = agent.Region(count=2, patience=15.0, index=1)
    region.turn(100.0, answers=False)
    assert not region.turn(110.0, answers=True)
    assert not region.turn(120.0, answers=False)
    assert not region.turn(134.0, answers=False)
    assert (region.turn(135.0, answers=False), region.index) == (True, 0)


def test_an_estate_without_another_region_calls_its_own_for_ever(agent: ModuleType) -> None:
    region = agent.Region(count=1, patience=15.0)
    assert not any(region.turn(float(second), answers=False) for second in range(100))


def test_each_tunnel_is_sent_to_its_own_gateway_there(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the keys that the kernel has now, which were replaced since the agent began."""
    ran: list[list[str]] = []
    kernel = {"wg0": "K1\t203.0.113.12:51820\n", "wg1": "K2\t(none)\n"}

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if argv[1] == "set":
            ran.append(argv)
        return subprocess.CompletedProcess(argv, 0, kernel[argv[2]])

    monkeypatch.setattr(agent.subprocess, "run", run)
    paths = [
        agent.TunnelPath(
            "ops-1", "wg0", "10.99.0.2", "10.99.0.1", ["203.0.113.12:51820", "203.0.113.102:51820"]
        ),
        agent.TunnelPath(
            "app-2", "wg1", "10.99.0.6", "10.99.0.5", ["203.0.113.11:51820", "203.0.113.101:51820"]
        ),
    ]
    agent.call(paths, 1)
    assert ran == [
        ["wg", "set", "wg0", "peer", "K1", "endpoint", "203.0.113.102:51820"],
        ["wg", "set", "wg1", "peer", "K2", "endpoint", "203.0.113.101:51820"],
    ]
