"""What a cut drops, as nftables takes it: the real program, in a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.estate.addresses import elastic_addresses, host_addresses
from infra.services.data import MYSQL, MYSQL_HEALTH
from runbooks.drills.faults import network, tables
from runbooks.drills.faults.network import DNS_GONE, LINE_CUT, LINK_CUT, QUORUM_CUT, poor_matches
from runbooks.drills.faults.tables import (
    BEFORE_THE_FABRIC,
    drop_rules,
    order_in,
    packets,
    port_matches,
    table_of,
)
from runbooks.drills.faults.targets import link_directions
from runbooks.drills.kinds import DnsGone, LineCut, LinkCut, LinkPoor, QuorumCut
from tests.unit.runbooks.faults.local import LAB, place_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from runbooks.drills.faults.tool import Order, Place, Tool
    from runbooks.drills.kinds import Fault

ADDRESSES = {name: str(address) for name, address in host_addresses(LAB).items()}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
APART = "PATH=$PATH:/usr/sbin:/sbin\nset -e\n"


def in_a_namespace(script: str) -> str:
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", APART + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def put(tool: Tool, fault: Fault, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Order, list[str]]:
    """What a fault would put where."""
    seen: list[tuple[Order, list[str]]] = []

    def take(_place: Place, order: Order, rules: Iterable[str]) -> None:
        seen.append((order, list(rules)))

    monkeypatch.setattr(network, "cut", take)
    tool.inject(fault, place_at(root))
    (found,) = seen
    assert found[0] == tool.order(fault, place_at(root)), "the undo is of what was done"
    return found


def test_a_host_is_cut_from_everywhere_by_its_address_alone() -> None:
    assert drop_rules(link_directions(LAB, "db-1", "everywhere")) == [
        f"ip saddr {ADDRESSES['db-1']} counter drop",
        f"ip daddr {ADDRESSES['db-1']} counter drop",
    ]


def test_a_link_is_cut_both_ways_unless_one_way_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = LinkCut(kind="link-cut", source="app-1", destination="db-1")
    there = f"ip saddr {ADDRESSES['app-1']} ip daddr {ADDRESSES['db-1']} counter drop"
    back = f"ip saddr {ADDRESSES['db-1']} ip daddr {ADDRESSES['app-1']} counter drop"
    assert put(LINK_CUT, fault, tmp_path, monkeypatch)[1] == [there, back]
    one_way = fault.model_copy(update={"one_way": True})
    assert put(LINK_CUT, one_way, tmp_path, monkeypatch)[1] == [there]


def test_one_edge_is_a_members_ports_from_one_app_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = ("mysql.mysql", "mysql-health.health")
    fault = LinkCut(kind="link-cut", source="app-1", destination="db-1", ports=ports)
    order, rules = put(LINK_CUT, fault, tmp_path, monkeypatch)
    numbers = {MYSQL.port("mysql").number, MYSQL_HEALTH.port("health").number}
    assert {f"tcp {side} {n}" for side in ("dport", "sport") for n in numbers} == {
        rule.split(" ", 6)[6].removesuffix(" counter drop") for rule in rules
    }
    assert len(rules) == 8
    assert ADDRESSES["db-2"] not in " ".join(rules)
    assert order["table"].endswith("_".join(["app_1_db_1", *map(str, sorted(numbers))]))


def test_two_cuts_of_one_drill_have_tables_of_their_own(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    names = {
        LINK_CUT.order(LinkCut(kind="link-cut", source="db-1", destination=d, ports=p), place)["table"]
        for d in ("db-2", "db-3")
        for p in ((), (3306,), (33061,))
    }
    names |= {
        LINK_CUT.order(LinkCut(kind="link-cut", source="db-1", destination="db-2"), p)["table"]
        for p in (place, replace(place, mark="fff999"))
    }
    assert len(names) == 7


def test_without_a_quorum_every_pair_of_members_is_cut_and_no_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, rules = put(QUORUM_CUT, QuorumCut(kind="quorum-cut"), tmp_path, monkeypatch)
    members = [ADDRESSES[f"db-{n}"] for n in (1, 2, 3)]
    assert sorted(rules) == sorted(
        f"ip saddr {a} ip daddr {b} counter drop" for a in members for b in members if a != b
    )


def test_a_cut_line_loses_tunnel_packets_of_that_gateway_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = elastic_addresses(LAB)
    order, rules = put(LINE_CUT, LineCut(kind="line-cut", gateway="app-2"), tmp_path, monkeypatch)
    assert order["router"] == "hospital", "before the premises' address translation"
    assert rules == [
        f"ip daddr {public['host-app-2']} udp dport 51820 counter drop",
        f"ip saddr {public['host-app-2']} udp sport 51820 counter drop",
    ]
    _, every = put(LINE_CUT, LineCut(kind="line-cut", gateway="all"), tmp_path, monkeypatch)
    assert set(rules) < set(every)
    assert str(public["host-ops-1"]) in " ".join(every)


def test_name_servers_are_cut_over_both_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, rules = put(DNS_GONE, DnsGone(kind="dns-gone", host="app-1"), tmp_path, monkeypatch)
    assert [rule.split(" ", 3)[3] for rule in rules] == [
        "udp dport 53 counter drop",
        "tcp dport 53 counter drop",
        "udp sport 53 counter drop",
        "tcp sport 53 counter drop",
    ]


def test_a_cut_that_is_not_there_is_undone_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nft` refuses to delete what is not there; that is no failure, a table that stays is."""
    left: list[str] = []
    monkeypatch.setattr(tables, "in_router", lambda *_: "".join(f"table inet {t}\n" for t in left))
    refused = subprocess.CompletedProcess([], 1, "", "Error: No such file or directory")
    monkeypatch.setattr(tables, "run", lambda *_, **__: refused)
    order = order_in("quorum-cut", place_at(tmp_path), "vpc")
    tables.remove(order, place_at(tmp_path))
    assert tables.absent(order, place_at(tmp_path))
    left.append(str(order["table"]))
    with pytest.raises(Exception, match="a cut stays"):
        tables.remove(order, place_at(tmp_path))


@needs_root
@pytest.mark.parametrize(
    "matches",
    [
        port_matches(()),
        port_matches((3306, 9201)),
        port_matches((51820,), "udp"),
        poor_matches(LinkPoor(kind="link-poor", source="a", destination="b", loss_percent=20, kbytes_s=100)),
    ],
    ids=["all", "ports", "udp", "poor"],
)
def test_the_kernel_takes_the_table_and_makes_it_anew(matches: list[str]) -> None:
    rules = drop_rules(link_directions(LAB, "db-1", "everywhere"), matches)
    text = table_of("yiyun_drill_x", {BEFORE_THE_FABRIC: rules})
    twice = f"nft -f - <<'E'\n{text}E\n" * 2
    listed = in_a_namespace(f"{twice}nft list ruleset")
    assert listed.count("drop") == len(rules), "made anew, not twice"
    assert "hook forward priority raw" in listed, "-300, before the fabric"


@needs_root
def test_what_a_rule_drops_is_counted_by_the_kernels_own_listing() -> None:
    chain = "type filter hook output priority 0; policy accept;"
    rules = ["udp dport 53 counter drop", "udp dport 54 counter drop"]
    text = table_of("yiyun_drill_x", {chain: rules})
    listing = f"nft -f - <<'E'\n{text}E\nip link set lo up\nnft -j list table inet yiyun_drill_x\n"
    assert packets(in_a_namespace(listing)) == 0
    ask = f"python3 - 127.0.0.1 <<'E'\n{network.LOOKUP}E\n"
    assert packets(in_a_namespace(listing.replace("nft -j", f"{ask}nft -j"))) == 1
