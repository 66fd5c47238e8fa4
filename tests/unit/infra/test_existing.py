"""Machines that exist already: declared, planned around, reached, and told apart where nobody guards them."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError, EstateError
from infra.estate.loading import load_estate
from infra.estate.matrix import expected_matrix
from infra.estate.plan import plan_resources
from infra.existing import (
    LET_IN,
    believed_keys,
    contact_argv,
    fingerprint,
    forget_departed,
    keep_key,
    learnt_keys,
    require_keys,
)
from infra.inventory import inventory
from infra.paths import EstatePaths
from infra.reach import ssh_config
from infra.trust.material import Material
from infra.verify.behind import past_the_fabric
from infra.verify.why import explain

if TYPE_CHECKING:
    from pathlib import Path

    from infra.estate.model import Estate

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPrFfGRm6ds4PfyUI1HQ9uvg2ZGQAE4jUvSFTPpf8VGy"


def estate_of(folder: Path, *hosts: str) -> Estate:
    path = folder / "wide.yaml"
    path.write_text("estate: wide\nextends: lab\nhosts:\n" + "".join(f"  - {{{h}}}\n" for h in hosts))
    return load_estate(str(path))


def existing(name: str, address: str, more: str = "") -> str:
    return f"name: {name}, provider: existing, subnet: app, address: {address}, roles: [app]{more}"


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths("wide", tmp_path / "state").ensure()


def test_nothing_is_made_of_it_and_others_are_told_of_it(tmp_path: Path) -> None:
    estate = estate_of(tmp_path, existing("app-3", "10.20.1.60", ", disks: [{size_gib: 5}]"))
    planned = plan_resources(estate)
    assert not [p for p in planned if "app-3" in p.logical_name]
    assert not [n for p in planned for n in p.needs if "app-3" in n]
    database = next(p.inputs for p in planned if p.logical_name == "securitygroup-db-1")
    assert "10.20.1.60/32" in {r.peer for r in getattr(database, "rules")}  # noqa: B009
    listener = next(p.inputs for p in planned if p.kind == "Listener")
    assert "app-3" in {b.host for b in getattr(listener, "backends")}  # noqa: B009


def test_its_owners_user_may_go_on_signing_in_and_nobody_else(tmp_path: Path, paths: EstatePaths) -> None:
    estate = estate_of(tmp_path, existing("app-3", "10.20.1.60", ", ssh: {user: admin, key_file: /k}"))
    hostvars = inventory(estate, Material(estate, paths))["_meta"]["hostvars"]
    assert hostvars["app-3"]["yiyun_sign_in_users"] == ["root", "admin"]
    assert hostvars["app-1"]["yiyun_sign_in_users"] == ["root"]


def test_it_does_not_count_towards_the_expected_size(tmp_path: Path) -> None:
    assert estate_of(tmp_path, existing("app-3", "10.20.1.60")).host("app-3").exists


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("name: app-3, provider: existing, subnet: app, roles: [app]", "its address must be given"),
        (existing("app-3", "10.20.1.60", ", type: c.n3.large"), "is no instance"),
        (existing("app-3", "10.20.1.60", ", ssh: {port: 2222}"), "SSH is at port 22"),
        (existing("app-3", "10.20.1.60", ", ssh: {host_key: ssh-rsa AAAA}"), "host_key"),
        (existing("app-3", "10.20.1.60", ", ssh: {key_file: id}"), "key_file"),
        ("name: app-1, ssh: {user: admin}", "ssh is of hosts that exist already"),
        (existing("g-1", "10.20.1.60").replace("[app]", "[gateway]"), "gateway needs a public address"),
    ],
)
def test_what_cannot_be_is_said_with_its_line(tmp_path: Path, host: str, message: str) -> None:
    with pytest.raises(EstateError, match=message) as caught:
        estate_of(tmp_path, host)
    assert caught.value.where == f"{tmp_path / 'wide.yaml'}:4"


def test_it_is_reached_through_its_bastion_or_directly(tmp_path: Path, paths: EstatePaths) -> None:
    inside, outside = existing("in-1", "10.20.1.60"), existing("out-1", "10.20.1.61")
    estate = estate_of(tmp_path, inside, outside + ", ssh: {host: door.example, port: 2222}")
    blocks = {b.split()[1]: b for b in ssh_config(estate, paths).split("\n\n")}
    assert "ProxyJump ops-1" in blocks["in-1"]
    assert "HostName door.example\n  Port 2222" in blocks["out-1"]
    assert "ProxyJump" not in blocks["out-1"]


def test_a_host_key_is_believed_from_the_file_or_a_person_only(tmp_path: Path, paths: EstatePaths) -> None:
    pinned = existing("a-1", "10.20.1.60", f", ssh: {{host_key: {KEY}}}")
    estate = estate_of(tmp_path, pinned, existing("b-1", "10.20.1.61"))
    assert believed_keys(estate, paths) == {"a-1": KEY}
    with pytest.raises(BadInputError, match="host key of b-1") as caught:
        require_keys(estate, believed_keys(estate, paths))
    assert "yiyun host learn b-1" in caught.value.hint
    keep_key(paths, "b-1", KEY)
    assert believed_keys(estate, paths) == {"a-1": KEY, "b-1": KEY}
    assert paths.learnt_host_keys.stat().st_mode & 0o777 == 0o600


def test_a_machine_that_left_is_a_stranger_when_it_returns(tmp_path: Path, paths: EstatePaths) -> None:
    both = estate_of(tmp_path, existing("a-1", "10.20.1.60"), existing("b-1", "10.20.1.61"))
    for name in ("a-1", "b-1"):
        keep_key(paths, name, KEY)
    forget_departed(both, paths)
    assert set(learnt_keys(paths)) == {"a-1", "b-1"}
    forget_departed(estate_of(tmp_path, existing("a-1", "10.20.1.60")), paths)
    assert set(learnt_keys(paths)) == {"a-1"}


def test_a_fingerprint_is_the_one_openssh_prints(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"{KEY}\n")
    said = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    ).stdout
    assert fingerprint(KEY) == said.split()[1]


def test_the_first_contact_adds_one_key_once_and_keeps_the_others(tmp_path: Path) -> None:
    home = tmp_path / "root"
    (home / ".ssh").mkdir(parents=True)
    keys = home / ".ssh/authorized_keys"
    keys.write_text("ssh-ed25519 OTHER\n")
    for _ in range(2):
        subprocess.run(
            ["sh", "-c", LET_IN.replace("/root", str(home))],
            input="ssh-ed25519 OURS\n",
            text=True,
            check=True,
        )
    assert keys.read_text() == "ssh-ed25519 OTHER\nssh-ed25519 OURS\n"


def test_the_first_contact_is_the_machines_own_user_by_sudo(tmp_path: Path, paths: EstatePaths) -> None:
    given = existing("a-1", "10.20.1.60", ", ssh: {user: admin, key_file: /keys/admin}")
    argv = contact_argv(paths, estate_of(tmp_path, given).host("a-1"))
    assert argv[3:8] == ["-l", "admin", "-i", "/keys/admin", "a-1"]
    assert shlex.split(argv[8])[:4] == ["sudo", "-n", "sh", "-c"]
    assert shlex.split(argv[8])[4] == LET_IN


def test_its_disks_are_claimed_and_nobody_elses(tmp_path: Path, paths: EstatePaths) -> None:
    estate = estate_of(tmp_path, existing("app-3", "10.20.1.60", ", disks: [{size_gib: 5}]"))
    variables = inventory(estate, Material(estate, paths))["_meta"]["hostvars"]
    assert variables["app-3"]["yiyun_data_claims"] == ["/data"]
    assert "yiyun_data_claims" not in variables["db-1"]


def test_between_two_of_them_only_what_is_permitted_is_probed(tmp_path: Path) -> None:
    estate = estate_of(tmp_path, existing("a-1", "10.20.1.60"), existing("b-1", "10.20.1.61"))
    both = [c for c in expected_matrix(estate).checks if {c.source, c.destination} == {"a-1", "b-1"}]
    assert all(c.permitted for c in both)
    one = [c for c in expected_matrix(estate).checks if (c.source, c.destination) == ("a-1", "db-1")]
    assert {c.permitted for c in one} == {True, False}


def test_what_a_gateways_group_lets_out_to_one_of_them_is_not_asked_to_be_dropped(tmp_path: Path) -> None:
    estate = estate_of(tmp_path, existing("app-3", "10.20.1.60"))
    asked = {
        (c.sender, c.port, c.via)
        for c in expected_matrix(estate).checks
        if c.destination == "app-3" and c.protocol == "tcp" and not c.permitted
    }
    assert ("app-2", 8444, "") not in asked, "it may send this for the line"
    assert ("ops-1", 22, "ops-1") not in asked, "it may send this for the operators"
    assert {("app-1", 8444, ""), ("db-1", 8444, ""), ("ops-1", 3306, "ops-1"), ("app-2", 23, "")} <= asked


def test_why_names_no_group_of_it_and_says_who_decides(tmp_path: Path, paths: EstatePaths) -> None:
    estate = estate_of(tmp_path, existing("app-3", "10.20.1.60"))
    chain = explain(estate, str(tmp_path / "wide.yaml"), paths, "ops-1", "app-3", 22)
    assert chain.permitted
    assert [r.group for r in chain.rules] == ["ops-1"]
    assert any("app-3 exists already" in line for line in chain.as_text())
    assert explain(estate, str(tmp_path / "wide.yaml"), paths, "ops-1", "app-1", 22).unguarded == ()


def test_no_packet_is_put_past_a_fabric_that_does_not_guard_it(tmp_path: Path) -> None:
    """Its wire is not ours to write to; the ordinary probe meets its own wall."""
    wider = estate_of(tmp_path, existing("app-3", "10.20.1.60"))
    checks = expected_matrix(wider).checks
    assert "app-3" in {c.destination for c in checks if not c.permitted}
    tried = {host for _, host in past_the_fabric(wider, checks)}
    assert "app-3" not in tried
    assert "app-2" in tried
