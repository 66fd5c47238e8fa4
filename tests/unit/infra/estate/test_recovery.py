"""The estate that takes another one's place: what it shares with it, and what it must never touch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab.settings import settings_of
from infra.errors import BadInputError
from infra.estate.addresses import elastic_addresses, host_addresses
from infra.estate.checks import find_problems
from infra.estate.endpoints import endpoints
from infra.estate.loading import load_estate
from infra.estate.model import Estate
from infra.estate.plan import plan_resources
from infra.estate.recovery import rehearsal_of, successor_of
from infra.inventory import inventory
from infra.paths import EstatePaths
from infra.services.backup import READER, SUCCESSOR
from infra.trust.material import Material

if TYPE_CHECKING:
    from pathlib import Path

LAB = load_estate("lab")
SCRATCH = rehearsal_of(LAB)


def test_a_rehearsal_has_the_estates_names_and_inner_addresses_in_the_other_region() -> None:
    assert find_problems(SCRATCH) == []
    assert (SCRATCH.region, SCRATCH.remote_region) == (LAB.remote_region, LAB.region)
    here, there = host_addresses(LAB), host_addresses(SCRATCH)
    assert {name: here[name] for name in there} == there
    assert {tuple(h.roles) for h in SCRATCH.hosts} == {("app",), ("db",), ("ops",)}


def test_nothing_of_it_is_the_estates_outside() -> None:
    assert not set(elastic_addresses(LAB).values()) & set(elastic_addresses(SCRATCH).values())
    ports = (LAB.lab.published.model_dump(), SCRATCH.lab.published.model_dump())
    assert not set(ports[0].values()) & set(ports[1].values())
    assert {r.kind for r in plan_resources(SCRATCH)}.isdisjoint({"ObjectStore", "Bucket", "Site", "Tunnel"})


def test_the_store_of_the_copies_is_the_same_for_both() -> None:
    far = {e.region: e for e in endpoints(LAB)}[LAB.remote_region.name]
    (near,) = endpoints(SCRATCH)
    assert (near.region, near.address, near.host_name) == (far.region, far.address, far.host_name)
    settings = settings_of(SCRATCH)
    assert (settings.home, settings.reached) == (LAB.estate, (str(far.address),))
    assert settings_of(LAB).home == ""


def test_its_hosts_get_an_account_that_reads_and_one_member_what_opens_the_log(tmp_path: Path) -> None:
    paths = EstatePaths(SCRATCH.estate, tmp_path).ensure()
    Material(LAB, paths).host_secrets(LAB.host("db-3"))
    variables = inventory(SCRATCH, Material(SCRATCH, paths))
    hosts = variables["_meta"]["hostvars"]
    told = {name: (h["yiyun_backup"]["estate"], h["yiyun_backup"]["account"]) for name, h in hosts.items()}
    assert set(told.values()) == {(LAB.estate, READER)}
    opening = {name for name, h in hosts.items() if "backup-identity" in h["yiyun_secrets"] and "db" in name}
    assert opening == {"db-1"}
    assert hosts["db-1"]["yiyun_restore"] == {"region": LAB.remote_region.name}
    assert "db-3" in hosts["db-1"]["yiyun_backup"]["signers"], "its bases are another host's"
    attachments = variables["all"]["vars"]["yiyun_attachments"]
    assert attachments == {"bucket": "attachments-remote", "account": READER, "read_only": True}


def test_the_estate_itself_restores_nothing_and_writes_as_it_did(tmp_path: Path) -> None:
    variables = inventory(LAB, Material(LAB, EstatePaths(LAB.estate, tmp_path).ensure()))
    hosts = variables["_meta"]["hostvars"]
    assert not [name for name, h in hosts.items() if "yiyun_restore" in h]
    assert not [name for name, h in hosts.items() if f"object-{READER}" in h["yiyun_secrets"]]
    assert hosts["db-1"]["yiyun_backup"]["account"] == "backup"
    attachments = {"bucket": "attachments", "account": "attachments-app", "read_only": False}
    assert variables["all"]["vars"]["yiyun_attachments"] == attachments


def test_it_can_be_written_as_an_estate_file_and_read_again(tmp_path: Path) -> None:
    text = json.dumps(SCRATCH.model_dump(mode="json", exclude_defaults=True))
    file = tmp_path / "estate.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_estate(str(file)) == SCRATCH


def test_what_cannot_be_recovered_is_refused_with_what_is_missing() -> None:
    with pytest.raises(BadInputError, match="itself a recovery"):
        rehearsal_of(SCRATCH)
    bare = LAB.model_copy(update={"buckets": tuple(b for b in LAB.buckets if b.region == LAB.region.name)})
    with pytest.raises(BadInputError, match="no bucket in cn-east-2"):
        rehearsal_of(bare)
    without = LAB.model_copy(update={"hosts": tuple(h for h in LAB.hosts if "db" not in h.roles)})
    with pytest.raises(BadInputError, match="has the role db"):
        rehearsal_of(Estate.model_validate(without.model_dump()))


def test_who_takes_over_has_all_hosts_but_those_that_have_nothing_to_bring_back() -> None:
    there = successor_of(LAB, {"edge-1": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="})
    assert find_problems(there) == []
    assert {h.name for h in there.hosts} == {"app-1", "app-2", "db-1", "db-2", "db-3", "ops-1", "edge-1"}
    assert host_addresses(there) == {h.name: host_addresses(LAB)[h.name] for h in there.hosts}
    assert (there.line, there.isolated, there.origin) == (LAB.line, False, "lab")
    edge = there.host("edge-1")
    assert (edge.exists, edge.access.host, edge.access.port) == (
        True,
        "127.0.0.1",
        LAB.lab.published.premises,
    )
    assert edge.access.host_key.startswith("ssh-ed25519 ")
    assert "edge-1" not in {r.inputs.name for r in plan_resources(there) if r.kind == "Host"}


def test_the_premises_know_where_each_gateway_would_be_in_the_other_region(tmp_path: Path) -> None:
    there = successor_of(LAB, {})
    here = inventory(LAB, Material(LAB, EstatePaths("lab", tmp_path).ensure()))
    tunnels = here["_meta"]["hostvars"]["edge-1"]["yiyun_wireguard"]["tunnels"]
    public = {name: str(a) for name, a in elastic_addresses(there).items()}
    assert {t["gateway"]: t["elsewhere"] for t in tunnels} == {
        g: [f"{public[f'host-{g}']}:51820"] for g in ("ops-1", "app-2")
    }


def test_it_goes_on_writing_attachments_with_a_key_that_no_host_had_before(tmp_path: Path) -> None:
    there, paths = successor_of(LAB, {}), EstatePaths("lab", tmp_path).ensure()
    attachments = inventory(there, Material(there, paths))["all"]["vars"]["yiyun_attachments"]
    assert attachments == {"bucket": "attachments-remote", "account": SUCCESSOR, "read_only": False}
    hosts = inventory(LAB, Material(LAB, paths))["_meta"]["hostvars"].values()
    assert not [h for h in hosts if f"object-{SUCCESSOR}" in h["yiyun_secrets"]]
