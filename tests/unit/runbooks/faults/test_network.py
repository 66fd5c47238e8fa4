"""What a cut link drops, as nftables takes it: the real program, in a network namespace of its own."""

from __future__ import annotations

import os
import subprocess

import pytest

from infra.errors import BadInputError
from infra.estate.addresses import host_addresses
from infra.estate.loading import load_estate
from runbooks.drills.faults.network import drop_rules, link_directions, table_of
from runbooks.drills.model import LinkCut

LAB = load_estate("lab")
ADDRESSES = {name: str(address) for name, address in host_addresses(LAB).items()}


def cut(source: str, destination: str, *, port: int | None = None, one_way: bool = False) -> LinkCut:
    return LinkCut(kind="link-cut", source=source, destination=destination, port=port, one_way=one_way)


def test_a_link_is_cut_both_ways_unless_one_way_is_asked_for() -> None:
    there = (ADDRESSES["app-1"], ADDRESSES["db-1"])
    assert link_directions(LAB, cut("app-1", "db-1")) == [there, there[::-1]]
    assert link_directions(LAB, cut("app-1", "db-1", one_way=True)) == [there]


def test_a_host_is_cut_from_everywhere_by_its_address_alone() -> None:
    assert drop_rules(link_directions(LAB, cut("db-1", "everywhere")), None) == [
        f"ip saddr {ADDRESSES['db-1']} counter drop",
        f"ip daddr {ADDRESSES['db-1']} counter drop",
    ]


def test_a_port_is_cut_with_its_answers() -> None:
    rules = drop_rules(link_directions(LAB, cut("app-1", "db-1", port=3306, one_way=True)), 3306)
    ends = f"ip saddr {ADDRESSES['app-1']} ip daddr {ADDRESSES['db-1']}"
    assert rules == [f"{ends} tcp dport 3306 counter drop", f"{ends} tcp sport 3306 counter drop"]


def test_hosts_of_two_networks_have_no_link_that_could_be_cut() -> None:
    with pytest.raises(BadInputError, match="two networks"):
        link_directions(LAB, cut("app-1", "edge-1"))


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_the_kernel_takes_the_table_and_makes_it_anew() -> None:
    text = table_of("yiyun_drill_x", drop_rules(link_directions(LAB, cut("db-1", "everywhere")), None))
    script = "set -e\nnft -f - <<'E'\n" + text + "E\nnft -f - <<'E'\n" + text + "E\nnft list ruleset"
    listed = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("drop") == 2, "made anew, not twice"
    assert "hook forward" in listed.stdout
