"""The probe's judgement over verdicts that are written down, and its agent on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError, YiyunError
from infra.estate.loading import load_estate
from infra.estate.matrix import expected_matrix
from infra.verify import agent
from infra.verify.channel import Agent, agent_argv
from infra.verify.probe import summary
from infra.verify.reaching import reaching
from infra.verify.results import Failure, SuiteResult, VerifyResult, load_probe, save_probe
from infra.verify.verdicts import Try

if TYPE_CHECKING:
    from pathlib import Path

    from infra.estate.matrix import Check
    from infra.verify.results import ProbeResult
    from infra.verify.verdicts import Verdict

LAB = load_estate("lab")
MATRIX = expected_matrix(LAB)


def result(**changed: Verdict) -> ProbeResult:
    """A probe in which everything is as declared but the named checks, `app_1__db_1__22`."""
    verdicts: dict[Check, Verdict] = {
        c: "open" if c.permitted else "dropped by the fabric" for c in MATRIX.checks
    }
    for name, verdict in changed.items():
        source, to, port = name.replace("_", "-").split("--")
        (check,) = [
            c
            for c in MATRIX.checks
            if (c.source, c.destination, c.port, c.protocol, c.via) == (source, to, int(port), "tcp", "")
        ]
        verdicts[check] = verdict
    return summary(LAB, MATRIX, verdicts, "fabric", "ops-1", 6.54)


def test_as_declared_has_no_difference() -> None:
    found = result()
    assert found.ok
    assert (found.pairs, found.ports, found.probes) == (110, len(MATRIX.ports), len(MATRIX.checks))
    assert (found.unexpected_open, found.unexpected_closed, found.undecided) == ((), (), ())


def test_open_and_closed_differences_are_told_apart_with_their_rules() -> None:
    found = result(app_1__db_1__22="dropped by the host", app_1__db_1__3306="dropped by the fabric")
    (opened,), (closed,) = found.unexpected_open, found.unexpected_closed
    assert (opened.port, opened.expected, opened.verdict) == (22, "denied", "dropped by the host")
    assert opened.rule == "nothing declares it: db-1 has no rule: dropped by default"
    assert (closed.port, closed.expected, closed.verdict) == (3306, "permitted", "dropped by the fabric")
    assert "security group app-1, out: permit tcp 3306 to 10.20.2.10/32" in closed.rule
    assert "security group db-1, in: permit tcp 3306 from 10.20.1.10/32" in closed.rule


def test_a_probe_that_its_source_stopped_is_undecided_not_a_difference() -> None:
    found = result(app_1__db_1__22="never left the source")
    assert found.ok
    assert found.undecided == ("app-1 → db-1 22/tcp",)


def test_a_result_is_kept_and_read_again(tmp_path: Path) -> None:
    found, path = result(app_1__db_1__22="open"), tmp_path / "last-probe.json"
    save_probe(found, path)
    assert load_probe(path) == found
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{}", '{"scope": "sky"}', "not json"])
def test_a_result_that_cannot_be_read_is_no_result(tmp_path: Path, text: str) -> None:
    path = tmp_path / "last-probe.json"
    assert load_probe(path) is None
    path.write_text(text, encoding="utf-8")
    assert load_probe(path) is None


def test_verify_counts_and_lists_what_did_not_hold() -> None:
    suites = SuiteResult(10, 1, 2, (Failure("mysql: group is whole", "db-1", "2 members"),))
    verified = VerifyResult(suites, result(app_1__db_1__22="open", app_1__db_1__21="open"))
    shown = verified.as_json()
    assert shown["checks"] == {"passed": 10 + 109, "failed": 1 + 1, "skipped": 2}
    assert [f["check"] for f in shown["failures"]] == [
        "mysql: group is whole",
        "probe: app-1 → db-1 21/tcp",
        "probe: app-1 → db-1 22/tcp",
    ]
    assert not verified.ok
    assert verified.summary.endswith("between 110 pairs of hosts: 2 differences")
    assert VerifyResult(None, result()).ok
    assert not VerifyResult(suites, None).ok


def test_the_fabric_of_a_cloud_cannot_be_asked(tmp_path: Path) -> None:
    from infra.paths import EstatePaths

    cloud = load_estate("yucheng")
    with pytest.raises(BadInputError), reaching(cloud, EstatePaths("yucheng", tmp_path), "fabric"):
        pass
    with reaching(cloud, EstatePaths("yucheng", tmp_path)) as reach:
        assert reach.scope == "ends"
        assert reach.read() is None
        assert reach.argv("ops-1")[0] == "ssh"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with closing(socket.socket(socket.AF_INET, kind)) as trying:
        trying.bind(("127.0.0.1", 0))
        return int(trying.getsockname()[1])


def local_agent(host: str = "here") -> tuple[str, list[str]]:
    return host, [sys.executable, *agent_argv()[1:]]


async def converse(
    tries: list[Try], tcp: list[int], udp: list[int]
) -> tuple[frozenset[str], list[str], str | None]:
    talking = await Agent.start(*local_agent())
    try:
        occupied = await talking.listen("127.0.0.1", tcp, udp)
        return occupied, await talking.probe(tries, 0.5), await talking.source_for("127.0.0.1")
    finally:
        await talking.stop()


def test_agent_listens_tries_and_tells_open_from_refused() -> None:
    tcp, udp, closed = free_port(), free_port(socket.SOCK_DGRAM), free_port()
    with closing(socket.create_server(("127.0.0.1", 0))) as real:
        taken = real.getsockname()[1]
        tries = [
            Try("127.0.0.1", tcp, "tcp"),
            Try("127.0.0.1", udp, "udp"),
            Try("127.0.0.1", taken, "tcp", "127.0.0.1"),
            Try("127.0.0.1", closed, "tcp"),
            Try("127.0.0.1", closed, "udp"),
            Try("127.0.0.1", tcp, "tcp", "192.0.2.1"),
        ]
        occupied, ends, source = asyncio.run(converse(tries, [tcp, taken], [udp]))
    assert occupied == {f"tcp/{taken}"}
    assert ends == [agent.OPEN, agent.OPEN, agent.OPEN, agent.REFUSED, agent.REFUSED, agent.NOT_SENT]
    assert source == "127.0.0.1"


def test_agents_listeners_end_with_its_input() -> None:
    port = free_port()
    asyncio.run(converse([], [port], []))
    with closing(socket.socket()) as trying, pytest.raises(ConnectionRefusedError):
        trying.connect(("127.0.0.1", port))


@pytest.mark.parametrize("argv", [["false"], ["sh", "-c", "echo no route to host >&2; exit 255"]])
def test_a_host_that_cannot_be_used_is_named(argv: list[str]) -> None:
    async def start() -> None:
        talking = await Agent.start("db-3", argv)
        try:
            await talking.source_for("127.0.0.1")
        finally:
            await talking.stop()

    with pytest.raises(YiyunError, match="the probe cannot use db-3"):
        asyncio.run(start())
