"""The all-pairs probe on a running lab: silent when all is as declared, exact when a rule is tampered with.

Only harmless pairs are tampered with: the Oracle hosts, which await their media.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.hosts import run_in_host
from infra.drivers.lab.rulesets import ruleset
from infra.drivers.lab.taps import TABLE, tapped_routers
from infra.estate.addresses import host_addresses
from infra.estate.endpoints import endpoints
from infra.estate.matrix import expected_matrix
from infra.verify.probe import probe
from infra.verify.results import load_probe, verdict_key
from infra.verify.why import explain
from tests.lab.harness import ROOT
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.estate.matrix import Check
    from infra.verify.results import ProbeResult
    from tests.lab.harness import Lab

pytestmark = pytest.mark.lab

PLANTED = 6379
NEEDED = 1521
FULL_PROBE_S = 45


@contextmanager
def planted_in_fabric(lab: Lab) -> Iterator[None]:
    """One more rule in both groups: ora-1 → ora-2 6379/tcp."""
    to = host_addresses(lab.estate)["ora-2"]
    from_ = host_addresses(lab.estate)["ora-1"]
    rules = {
        "sg-ora-1-out": f"ip daddr {to} tcp dport {PLANTED} counter return",
        "sg-ora-2-in": f"ip saddr {from_} tcp dport {PLANTED} counter return",
    }
    try:
        for chain, rule in rules.items():
            in_router(
                lab.paths.estate,
                lab.estate.vpc.name,
                ["nft", "insert", "rule", "inet", "yiyun", chain, *rule.split()],
            )
        yield
    finally:
        restore_fabric(lab)


@contextmanager
def host_firewall(lab: Lab, host: str, rule: str) -> Iterator[None]:
    """The host's own firewall drops what `rule` matches."""
    text = (
        "table inet planted {\n chain input {\n  type filter hook input priority filter; policy accept;\n"
        f"  {rule} drop\n }}\n}}\n"
    )
    assert run_in_host(lab.paths, host, ["nft", "-f", "-"], stdin=text).returncode == 0
    try:
        yield
    finally:
        assert run_in_host(lab.paths, host, ["nft", "delete", "table", "inet", "planted"]).returncode == 0


@contextmanager
def planted_in_wall(lab: Lab, host: str, rule: str) -> Iterator[None]:
    """One more opening in the host's second wall."""
    insert = ["nft", "insert", "rule", "inet", "yiyun_wall", "input", *rule.split(), "accept"]
    assert run_in_host(lab.paths, host, insert).returncode == 0
    try:
        yield
    finally:
        assert run_in_host(lab.paths, host, ["nft", "-f", "/etc/nftables.d/wall.nft"]).returncode == 0


def remove_rule(lab: Lab, chain: str, comment: str) -> None:
    """Take one rule out of the cloud's fabric."""
    router = lab.estate.vpc.name
    listing = json.loads(
        in_router(lab.paths.estate, router, ["nft", "-j", "-a", "list", "chain", "inet", "yiyun", chain])
    )
    rules = [item["rule"] for item in listing["nftables"] if "rule" in item]
    (handle,) = [str(r["handle"]) for r in rules if r.get("comment") == comment]
    in_router(lab.paths.estate, router, ["nft", "delete", "rule", "inet", "yiyun", chain, "handle", handle])


def restore_fabric(lab: Lab) -> None:
    """The ruleset as recorded, whatever was done to it."""
    router = lab.estate.vpc.name
    in_router(lab.paths.estate, router, ["nft", "-f", "-"], stdin=ruleset(read_desired(lab.paths), router))


def inside_the_cloud(check: Check) -> bool:
    return check.route == "fabric" and not {check.source, check.destination} & {"edge-1", "his-1"}


def probe_cloud(lab: Lab, **options: object) -> ProbeResult:
    return probe(lab.estate, lab.paths, only=inside_the_cloud, **options)  # type: ignore[arg-type]


def test_matrix_of_a_fresh_estate_has_no_difference(lab: Lab) -> None:
    answer = lab.yiyun("verify", "--no-checks")
    found = answer.json["probe"]
    assert answer.code == 0, answer.json["failures"]
    assert (found["unexpected_open"], found["unexpected_closed"]) == ([], [])
    assert found["pairs"] == len(lab.estate.hosts) * (len(lab.estate.hosts) - 1 + len(endpoints(lab.estate)))
    assert found["probes"] == len(expected_matrix(lab.estate).checks)
    assert (found["scope"], found["undecided"]) == ("fabric", [])
    assert found["unexpected_let_in"] == []
    assert found["walls"] > 0.7 * found["probes"]
    assert found["seconds"] <= FULL_PROBE_S


def test_open_fabric_behind_a_hosts_own_firewall_is_reported_exactly(lab: Lab) -> None:
    with planted_in_fabric(lab), host_firewall(lab, "ora-2", f"tcp dport {PLANTED}"):
        found = probe_cloud(lab)
        by_the_ends = probe_cloud(lab, scope="ends")
    assert found.unexpected_closed == ()
    (difference,) = found.unexpected_open
    assert (difference.source, difference.destination, difference.port, difference.protocol) == (
        "ora-1",
        "ora-2",
        PLANTED,
        "tcp",
    )
    assert (difference.verdict, difference.expected) == ("dropped by the host", "denied")
    assert by_the_ends.scope == "ends"
    assert by_the_ends.ok, "without the fabric's counters the firewall hides the open fabric"


def test_open_fabric_is_reported_though_the_second_wall_holds(lab: Lab) -> None:
    with planted_in_fabric(lab):
        found = probe_cloud(lab)
    assert [(d.source, d.destination, d.port, d.verdict) for d in found.unexpected_open] == [
        ("ora-1", "ora-2", PLANTED, "dropped by the host")
    ]
    assert (found.unexpected_closed, found.unexpected_let_in) == ((), ())


def test_open_fabric_and_open_host_is_reported_exactly(lab: Lab) -> None:
    with planted_in_fabric(lab), planted_in_wall(lab, "ora-2", f"tcp dport {PLANTED}"):
        found = probe_cloud(lab)
    senders = {h.name for h in lab.estate.cloud_hosts} - {"ora-2"}
    assert {(d.source, d.destination, d.port) for d in found.unexpected_let_in} == {
        (sender, "ora-2", PLANTED) for sender in senders
    }
    assert [(d.source, d.destination, d.port, d.verdict) for d in found.unexpected_open] == [
        ("ora-1", "ora-2", PLANTED, "open")
    ]
    assert found.unexpected_closed == ()


def test_removed_rule_is_reported_exactly(lab: Lab) -> None:
    address = host_addresses(lab.estate)["ora-1"]
    comment = f"sg:ora-2:in:tcp:{NEEDED}:{address}/32"
    remove_rule(lab, "sg-ora-2-in", comment)
    try:
        found = probe_cloud(lab)
        chain = explain(lab.estate, str(lab.source), lab.paths, "ora-1", "ora-2", NEEDED)
    finally:
        restore_fabric(lab)
    assert found.unexpected_open == ()
    (difference,) = found.unexpected_closed
    assert (difference.source, difference.destination, difference.port, difference.protocol) == (
        "ora-1",
        "ora-2",
        NEEDED,
        "tcp",
    )
    assert (difference.verdict, difference.expected) == ("dropped by the fabric", "permitted")
    assert f"permit tcp {NEEDED} from {address}/32" in difference.rule
    assert [r.installed for r in chain.rules] == [True, False]
    assert [p.verdict for p in chain.probed] == ["dropped by the fabric"]
    assert probe_cloud(lab).ok


def test_needed_port_dropped_by_the_host_is_told_apart_from_the_fabric(lab: Lab) -> None:
    with host_firewall(lab, "ora-2", f"tcp dport {NEEDED}"):
        found = probe_cloud(lab)
    assert [(d.source, d.port, d.verdict) for d in found.unexpected_closed] == [
        ("ora-1", NEEDED, "dropped by the host")
    ]


def test_why_names_the_rule_and_counts_live(lab: Lab) -> None:
    probe_cloud(lab)
    before = explain(lab.estate, str(lab.source), lab.paths, "ora-1", "ora-2", NEEDED)
    probe_cloud(lab)
    after = explain(lab.estate, str(lab.source), lab.paths, "ora-1", "ora-2", NEEDED)
    assert after.permitted
    assert [p.verdict for p in after.probed] == ["open"]
    for old, new in zip(before.rules, after.rules, strict=True):
        assert (new.permits, new.installed) == (True, True)
        assert (new.packets or 0) > (old.packets or 0)
    closed = explain(lab.estate, str(lab.source), lab.paths, "app-1", "db-1", 22)
    assert not closed.permitted
    assert [r.installed for r in closed.rules] == [True, True]
    assert (closed.rules[0].packets or 0) > 0
    assert [p.verdict for p in closed.probed] == ["dropped by the fabric"]


def test_a_probe_leaves_neither_taps_nor_agents(lab: Lab) -> None:
    result = probe_cloud(lab)
    saved = load_probe(lab.paths.last_probe)
    assert saved == result
    assert saved.verdicts[verdict_key("ora-1", "ora-2", NEEDED, "tcp")] == "open"
    assert leftovers(lab) == []


def test_a_killed_probe_leaves_nothing_that_the_next_does_not_clean(lab: Lab) -> None:
    program = (
        "import sys; from infra.estate.loading import load_estate; from infra.paths import EstatePaths;"
        "from infra.verify.probe import probe; e = load_estate(sys.argv[1]);"
        "probe(e, EstatePaths(e.estate), progress=lambda s: print(s, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lab.source)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        while "round" not in (line := running.stdout.readline()):
            assert line, "the probe ended by itself"
        os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not agents(lab), seconds=20)
    assert probe_cloud(lab).ok
    assert leftovers(lab) == []


def agents(lab: Lab) -> list[str]:
    """Hosts in which an agent still runs."""
    found: list[str] = []
    for host in ("ora-1", "ora-2", "app-1", "edge-1"):
        listed = run_in_host(lab.paths, host, ["pgrep", "-f", "sys.stdin.buffer.readline"])
        found += [host] if listed.stdout.strip() else []
    return found


def leftovers(lab: Lab) -> list[str]:
    """Agents and taps that are still there."""
    tables = [
        router
        for router in tapped_routers(lab.paths)
        if TABLE in in_router(lab.paths.estate, router, ["nft", "list", "tables"])
    ]
    return [*agents(lab), *tables]
