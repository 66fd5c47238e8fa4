"""The inventory gives each host what its services need, and no secret of a service it does not run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra.estate.loading import load_estate
from infra.inventory import inventory
from infra.paths import EstatePaths
from infra.reach import bastion_of, ssh_config
from infra.services.backup import BACKUP_PRUNING
from infra.services.catalogue import SERVICES, services_of
from infra.trust.material import Material

if TYPE_CHECKING:
    from pathlib import Path

LAB = load_estate("lab")


@pytest.fixture(scope="module")
def hostvars(tmp_path_factory: pytest.TempPathFactory) -> dict:
    paths = EstatePaths("lab", tmp_path_factory.mktemp("state"))
    return inventory(LAB, Material(LAB, paths))["_meta"]["hostvars"]


@pytest.mark.parametrize("host", LAB.hosts, ids=lambda h: h.name)
def test_a_host_gets_the_secrets_of_its_own_services_only(host, hostvars: dict) -> None:
    wanted = {s.name for service in services_of(host) for s in service.secrets if not s.per_host}
    assert set(hostvars[host.name]["yiyun_secrets"]) == wanted


def test_no_host_has_the_key_that_removes_backups(hostvars: dict) -> None:
    secret = BACKUP_PRUNING.secrets[0].name
    assert secret == BACKUP_PRUNING.grants[0].secret
    assert secret not in json.dumps(hostvars)


def test_the_hospital_is_given_nothing_of_the_estate(hostvars: dict) -> None:
    his = hostvars["his-1"]
    assert his["yiyun_secrets"] == {}
    assert his["yiyun_certificates"] == {}
    assert set(his["yiyun_addresses"]) == {"his-1", "edge-1"}


def test_each_end_of_each_tunnel_knows_the_others_public_key_only(hostvars: dict) -> None:
    edge = hostvars["edge-1"]["yiyun_wireguard"]
    for tunnel in edge["tunnels"]:
        gateway = hostvars[tunnel["gateway"]]["yiyun_wireguard"]
        assert tunnel["gateway_address"] == gateway["address"].split("/")[0]
        assert tunnel["address"].split("/")[0] == gateway["peer_address"]
        assert gateway["private_key"] not in json.dumps(hostvars["edge-1"])
        assert tunnel["private_key"] not in json.dumps(hostvars[tunnel["gateway"]])
    assert len({tunnel["private_key"] for tunnel in edge["tunnels"]}) == len(edge["tunnels"])


def test_the_line_lets_only_declared_flows_through(hostvars: dict) -> None:
    for gateway in ("ops-1", "app-2"):
        assert {(f["address"], f["port"]) for f in hostvars[gateway]["yiyun_line_flows"]} == {
            ("10.20.0.10", 123),
            ("10.20.0.10", 10051),
            ("10.20.0.10", 8443),
            ("10.20.1.10", 8444),
            ("10.20.1.11", 8444),
        }


def test_only_bastions_are_reached_directly(tmp_path: Path) -> None:
    assert {h.name: bastion_of(LAB, h) for h in LAB.hosts if bastion_of(LAB, h) is None} == {
        "ops-1": None,
        "edge-1": None,
    }
    text = ssh_config(LAB, EstatePaths("lab", tmp_path))
    assert text.count("HostName 127.0.0.1") == 2
    assert "StrictHostKeyChecking yes" in text


def test_every_port_is_declared_once_a_host() -> None:
    for host in LAB.hosts:
        ports: dict[tuple[int, str], set[str]] = {}
        for service in services_of(host):
            for port in service.listens:
                ports.setdefault((port.number, port.protocol), set()).add(service.name)
        clashes = {
            p: names for p, names in ports.items() if len(names) > 1 and names != {"sshd", "bastion-door"}
        }
        assert clashes == {}


def test_every_service_says_what_it_is_for_and_how_it_is_saved() -> None:
    for service in SERVICES:
        assert service.purpose
        assert bool(service.saves) != bool(service.keeps_nothing), service.name
