"""The second wall: default drop, exactly the declared openings, and the same again after a boot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.estate.wall import wall_of

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("host-firewall")


def rules(on: Machine, chain: str) -> list[dict[str, Any]]:
    listed = on.json_of("wall")["nftables"]
    return [item["rule"] for item in listed if item.get("rule", {}).get("chain") == chain]


@pytest.mark.clause("8.1.3.2 访问控制")
def test_what_nobody_declared_is_dropped(on: Machine) -> None:
    chains = [item["chain"] for item in on.json_of("wall")["nftables"] if "chain" in item]
    policies = {c["hook"]: c["policy"] for c in chains}
    assert policies == {"input": "drop", "forward": "drop", "output": "accept"}


@pytest.mark.clause("8.1.3.2 访问控制")
def test_openings_are_the_declared_ones(on: Machine) -> None:
    found = {
        (match["left"]["payload"]["protocol"], match["right"])
        for rule in rules(on, "input")
        for part in rule["expr"]
        if (match := part.get("match")) and match["left"].get("payload", {}).get("field") == "dport"
    }
    assert found == {(o.protocol, o.port) for o in wall_of(on.estate, on.declared).openings}


@pytest.mark.clause("8.1.3.1 边界防护")
def test_the_kernel_has_the_confirmed_rules_and_boot_brings_them_back(on: Machine) -> None:
    status = on.facts["commands"]["wall-status"]
    assert status["code"] == 0, status["err"].strip()
    assert on.facts["units"]["nftables"]["UnitFileState"] == "enabled"


@pytest.mark.clause("8.1.4.4 入侵防范")
def test_ssh_comes_from_the_bastion_only(on: Machine) -> None:
    ssh = [o for o in wall_of(on.estate, on.declared).openings if o.port == 22]
    peers = {peer for o in ssh for peer in o.peers}
    assert peers
    assert "0.0.0.0/0" not in peers, "administration is open to everybody"
