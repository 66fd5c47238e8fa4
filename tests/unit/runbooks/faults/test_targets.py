"""What a fault would hit is known from the estate, or said to be missing before anything begins."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from infra.errors import BadInputError
from runbooks.drills.faults.targets import (
    RELOADS,
    data_disk,
    leaf_port,
    member_directions,
    must_fit,
    store_of,
    tunnel_ends,
)
from runbooks.drills.kinds import Fault
from tests.unit.runbooks.faults.local import LAB

FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


def test_a_data_disk_is_found_by_the_services_path() -> None:
    disk = data_disk(LAB, "db-1", "mysql")
    assert (disk.name, disk.mount) == ("db-1-data", "/data")
    assert data_disk(LAB, "edge-1", "collector").name == "edge-1-data"


def test_one_member_alone_is_cut_from_each_other_both_ways() -> None:
    alone = member_directions(LAB, "db-2")
    assert len(alone) == 4
    assert {pair[::-1] for pair in alone} == set(alone)
    assert set(alone) < set(member_directions(LAB))
    assert len(member_directions(LAB)) == 6


def test_every_path_of_the_line_has_its_gateways_public_address() -> None:
    one, other = (tunnel_ends(LAB, name) for name in ("ops-1", "app-2"))
    assert tunnel_ends(LAB, "all") == one + other
    assert one != other


def test_object_storage_is_that_of_a_region() -> None:
    assert (store_of(LAB, "own").group, store_of(LAB, "remote").group) == ("s3-cn-north-1", "s3-cn-east-2")


@pytest.mark.parametrize("service", sorted(RELOADS))
def test_a_leaf_that_can_be_replaced_is_shown_at_a_declared_port(service: str) -> None:
    hosts = {"proxy": "app-1", "platform": "app-2", "depot": "ops-1", "zabbix-frontend": "ops-1"}
    assert leaf_port(LAB, hosts[service], service) in {443, 8000, 8443}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"kind": "disk-full", "host": "app-1", "service": "mysql"}, "app-1 runs no mysql"),
        ({"kind": "disk-full", "host": "app-1", "service": "platform"}, "nothing on a data disk"),
        ({"kind": "slow-disk", "host": "db-1", "service": "mysql-health", "iops": 5}, "nothing on a data"),
        ({"kind": "link-cut", "source": "app-1", "destination": "edge-1"}, "two networks"),
        ({"kind": "link-poor", "source": "app-1", "destination": "his-1", "kbytes_s": 9}, "two networks"),
        (
            {"kind": "link-cut", "source": "app-1", "destination": "db-1", "ports": ["mysql.telnet"]},
            "no port mysql.telnet",
        ),
        (
            {"kind": "link-cut", "source": "app-1", "destination": "db-1", "ports": ["sql.mysql"]},
            "no port sql.mysql",
        ),
        ({"kind": "members-cut", "host": "app-1"}, "no database members"),
        ({"kind": "line-cut", "gateway": "app-1"}, "app-1 is no gateway"),
        ({"kind": "certificate-expired", "host": "db-1", "service": "proxy"}, "db-1 runs no proxy"),
        ({"kind": "certificate-expired", "host": "db-1", "service": "mysql"}, "does not take up a leaf"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_the_estate_has_not_is_said(fault: dict[str, object], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        must_fit(FAULT.validate_python(fault), LAB)


def test_a_region_without_a_bucket_has_no_storage_to_refuse() -> None:
    bare = LAB.model_copy(update={"buckets": ()})
    with pytest.raises(BadInputError, match="no object storage in cn-east-2"):
        must_fit(FAULT.validate_python({"kind": "storage-refusing", "store": "remote"}), bare)


def test_an_estate_with_one_member_has_no_quorum_to_cut() -> None:
    lone = LAB.model_copy(update={"hosts": tuple(h for h in LAB.hosts if h.name not in {"db-2", "db-3"})})
    with pytest.raises(BadInputError, match="no database members"):
        must_fit(FAULT.validate_python({"kind": "quorum-cut"}), lone)
