"""An estate file is refused with file, line and what to do, before anything is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError, EstateError
from infra.estate.capacity import total
from infra.estate.loading import load_estate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def problems_of(source: str) -> list[tuple[str, str]]:
    with pytest.raises(EstateError) as caught:
        load_estate(source)
    assert caught.value.exit_code == 4
    return [(p.where.rpartition("/")[2], p.message) for p in caught.value.problems]


@pytest.mark.parametrize("name", ["lab", "yucheng"])
def test_shipped_estates_add_up_to_what_the_county_runs(name: str) -> None:
    estate = load_estate(name)
    assert (total(estate).vcpu, total(estate).memory_gib) == (216, 480)
    assert len(estate.cloud_hosts) == 8


def test_the_lab_has_the_countys_hosts_and_a_hospital_more() -> None:
    lab, county = load_estate("lab"), load_estate("yucheng")
    assert {h.name for h in lab.hosts} - {h.name for h in county.hosts} == {"his-1"}
    assert [(h.name, h.type, h.roles) for h in lab.cloud_hosts] == [
        (h.name, h.type, h.roles) for h in county.cloud_hosts
    ]


def test_oracle_has_its_own_operating_system_in_the_cloud_only() -> None:
    assert {load_estate("yucheng").image_of(h) for h in load_estate("yucheng").hosts_with("ora")} == {
        "oracle-linux-8"
    }
    assert {load_estate("lab").image_of(h) for h in load_estate("lab").hosts} == {"debian-13"}


def test_an_unknown_key_is_named_with_its_line(write) -> None:
    source = write("estate: mine\nextends: lab\n\ninternett: {}\n")
    assert problems_of(source) == [("mine.yaml:4", "unknown key internett")]


def test_an_unknown_key_deep_in_a_merged_list_keeps_its_own_line(write) -> None:
    source = write("estate: mine\nextends: lab\nhosts:\n  - name: app-1\n    colour: red\n")
    assert problems_of(source) == [("mine.yaml:5", "unknown key hosts.0.colour")]


def test_a_sum_that_does_not_fit_is_refused(write) -> None:
    source = write("estate: mine\nextends: lab\nhosts:\n  - {name: app-1, type: c.n3.4xlarge}\n")
    ((where, message),) = problems_of(source)
    assert message == "the cloud hosts add up to 200 vCPU / 448 GiB, expected 216 vCPU / 480 GiB"
    assert where.startswith("yucheng.yaml:")


def test_overlapping_subnets_are_refused_where_they_are_written(write) -> None:
    source = write("estate: mine\nextends: lab\nvpc:\n  subnets:\n    - {name: more, cidr: 10.20.1.128/25}\n")
    assert problems_of(source) == [
        ("mine.yaml:5", "subnet more 10.20.1.128/25 overlaps app 10.20.1.0/24"),
    ]


def test_a_duplicate_address_is_refused_at_both_places(write) -> None:
    source = write(
        "estate: mine\nextends: lab\nhosts:\n"
        "  - {name: db-1, address: 10.20.2.50}\n  - {name: db-2, address: 10.20.2.50}\n"
    )
    assert problems_of(source) == [
        ("mine.yaml:4", "db-1: address 10.20.2.50 is given twice"),
        ("mine.yaml:5", "db-2: address 10.20.2.50 is given twice"),
    ]


def test_an_address_outside_its_subnet_is_refused(write) -> None:
    source = write("estate: mine\nextends: lab\nhosts:\n  - {name: db-1, address: 10.20.1.50}\n")
    assert problems_of(source) == [("mine.yaml:4", "db-1: 10.20.1.50 is not in 10.20.2.0/24")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hosts: [{name: app-1, roles: [apps]}]", "app-1: no role apps"),
        ("hosts: [{name: app-1, subnet: nowhere}]", "app-1: no subnet nowhere"),
        ("line: {gateways: [ops-1, app-1]}", "app-1 is not a cloud host with the role gateway"),
        ("line: {cidr: 10.20.9.0/24}", "the line 10.20.9.0/24 overlaps the VPC 10.20.0.0/16"),
        ("buckets: [{name: backups, region: mars}]", "backups: no region mars"),
        ("buckets: [{name: backups, versioned: false}]", "backups: object lock needs versions"),
        ("load_balancers: [{name: web, service: webb}]", "web: no service port webb.https"),
        ("lab: {published: {web: 10022}}", "one port of 127.0.0.1 is published twice"),
        ("remote_region: {name: cn-north-1}", "the remote region is the region itself"),
    ],
)
def test_inconsistencies_are_named(write, text: str, message: str) -> None:
    assert message in [m for _, m in problems_of(write(f"estate: mine\nextends: lab\n{text}\n"))]


def test_a_placeholder_is_refused_outside_the_lab(write) -> None:
    source = write("estate: mine\nextends: yucheng\ndomain: changeme.cn\n")
    assert problems_of(source) == [("mine.yaml:3", "domain 'changeme.cn' is a placeholder")]


def test_broken_yaml_is_named_with_its_line(write) -> None:
    with pytest.raises(BadInputError) as caught:
        load_estate(write("estate: mine\nhosts: [\n"))
    assert caught.value.where.rpartition("/")[2].startswith("mine.yaml:")
    assert caught.value.exit_code == 4


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="circle"):
        load_estate(str(tmp_path / "a.yaml"))


def test_an_unknown_estate_names_those_there_are() -> None:
    with pytest.raises(BadInputError) as caught:
        load_estate("labb")
    assert "lab, yucheng" in caught.value.hint
