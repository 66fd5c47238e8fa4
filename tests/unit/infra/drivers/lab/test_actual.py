"""What this machine has beside a lab's records: rules as nftables lists them, buckets, machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.actual import bucket_changes, machine_changes, rule_changes
from infra.drivers.lab.bucket_settings import actual_settings, compare, declared_settings
from infra.drivers.lab.fabric import compare_listings, routers
from infra.drivers.lab.hosts import Container
from infra.drivers.lab.names import qualified
from infra.drivers.lab.topology import plan_topology
from infra.provider.differences import PropertyChange
from infra.resources import Bucket

if TYPE_CHECKING:
    from infra.drivers.lab.desired import Desired

LISTING = """table inet yiyun {
	comment "abc"
	map egress {
		type ipv4_addr : verdict
	}

	chain sg-db-1-in {
		ip saddr 10.0.0.2 tcp dport 3306 counter return comment "sg:db-1:in:tcp:3306:10.0.0.2/32"
		counter drop comment "sg:db-1:in:drop"
	}

	chain sg-db-1-out {
		counter drop comment "sg:db-1:out:drop"
	}
}
"""
PLANTED = "ip saddr 10.0.0.9 tcp dport 22 counter return"


def test_equal_listings_do_not_differ() -> None:
    assert not compare_listings(LISTING, LISTING)


def test_a_rule_without_a_comment_is_named_with_its_group() -> None:
    bent = LISTING.replace("chain sg-db-1-in {", f"chain sg-db-1-in {{\n\t\t{PLANTED}")
    (change,) = rule_changes("vpc", compare_listings(LISTING, bent))
    assert (change.resource, change.kind, change.action) == ("securitygroup-db-1", "SecurityGroup", "update")
    assert change.properties == (PropertyChange("sg-db-1-in.rules", [], [PLANTED]),)


def test_a_missing_rule_a_missing_chain_and_a_missing_table_are_named() -> None:
    lost = compare_listings(LISTING, LISTING.replace("3306", "3307"))
    assert [len(lost.missing["sg-db-1-in"]), len(lost.surplus["sg-db-1-in"])] == [1, 1]
    without = LISTING.replace("chain sg-db-1-out {", "chain other {")
    assert {c.resource for c in rule_changes("vpc", compare_listings(LISTING, without))} == {
        "router-vpc",
        "securitygroup-db-1",
    }
    assert compare_listings(LISTING, "").missing


def test_the_order_of_rules_matters() -> None:
    lines = LISTING.splitlines()
    lines[7], lines[8] = lines[8], lines[7]
    assert compare_listings(LISTING, "\n".join(lines))


def machines(desired: Desired) -> dict[str, Container]:
    things = {n.thing for n in plan_topology(desired).namespaces} - set(routers(desired))
    names = [qualified(desired.estate, t) for t in things]
    return {n: Container(n, "running", 1, "", "") for n in names}


def test_a_frozen_a_lost_and_a_foreign_machine_are_named(desired: Desired) -> None:
    found = machines(desired)
    assert list(machine_changes(desired, found)) == []
    frozen, lost = (qualified(desired.estate, t) for t in ("db-1", "app-1"))
    found[frozen] = Container(frozen, "paused", 1, "", "")
    del found[lost]
    found["yy-x-foreign"] = Container("yy-x-foreign", "running", 1, "", "")
    seen = {c.resource: c.properties[0].actual for c in machine_changes(desired, found)}
    assert seen == {"machine-app-1": "absent", "machine-db-1": "paused", "yy-x-foreign": "running"}


BUCKET = Bucket(name="files", region="r", versioned=True, object_lock_days=0)


def answers(versioning: str = "Enabled", policy: str = "", exists: int = 200):
    body = f"<VersioningConfiguration><Status>{versioning}</Status></VersioningConfiguration>"
    return {
        ("HEAD", "/files"): (exists, ""),
        ("GET", "/files?versioning="): (200, body),
        ("GET", "/files?object-lock="): (404, "<Error/>"),
        ("GET", "/files?policy="): (200, policy) if policy else (404, "<Error/>"),
    }


def bucket_differs(**state):
    told = answers(**state)
    return compare(declared_settings(BUCKET), actual_settings(lambda m, p: told[m, p], "files"))


def test_a_bucket_as_recorded_does_not_differ() -> None:
    assert bucket_differs() == {}


def test_versioning_policy_and_loss_of_a_bucket_are_named() -> None:
    assert bucket_differs(versioning="Suspended") == {"versioning": ("Enabled", "Suspended")}
    assert bucket_differs(policy='{"x": 1}') == {"policy": (None, {"x": 1})}
    (change,) = bucket_changes({"files": bucket_differs(exists=404)})
    assert (change.resource, change.action) == ("bucket-files", "create")
