from __future__ import annotations

from typing import Any

from infra.drivers.base import Actual
from infra.engine.deployment import (
    destructive_changes,
    hold_protected,
    kept,
    known_resources,
    resolve_pending,
    settled,
    unprotect,
)
from infra.estate.plan import PlannedResource
from infra.resources import Disk, ElasticIp, Vpc

VPC = Vpc(name="vpc", region="north", cidr="10.0.0.0/16")
DISK = Disk(name="db-1-data", size_gib=100, size_mib=2048, zone="a")
IP = ElasticIp(name="web", address="203.0.113.10", package="shared", target="10.0.0.2")
PLAN = (PlannedResource("Vpc", VPC), PlannedResource("Disk", DISK), PlannedResource("ElasticIp", IP))


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:lab::yiyun::yiyun:index:{kind}::{kind.lower()}-{name}"


def entry(kind: str, inputs: Any, **more: Any) -> dict[str, Any]:
    base = {"urn": urn(kind, inputs.name), "type": f"yiyun:index:{kind}", "inputs": inputs.model_dump()}
    return base | {"id": inputs.name} | more


def state(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    stack = {"urn": "urn:pulumi:lab::yiyun::pulumi:pulumi:Stack::yiyun-lab", "type": "pulumi:pulumi:Stack"}
    return {"resources": [stack, *resources], **more}


def test_an_empty_state_knows_nothing_and_holds_nothing() -> None:
    assert known_resources({}) == []
    assert hold_protected(PLAN, {}) == (PLAN, ())


def test_a_replaced_copy_that_waits_for_its_deletion_is_not_counted() -> None:
    assert known_resources(state(entry("Vpc", VPC, delete=True))) == []


def test_a_protected_resource_that_left_the_estate_stays_registered() -> None:
    plan, held = hold_protected(PLAN[:1], state(entry("Vpc", VPC), entry("Disk", DISK)))
    assert [p.logical_name for p in plan] == ["vpc-vpc", "disk-db-1-data"]
    assert [(h.logical_name, h.properties) for h in held] == [("disk-db-1-data", ())]


def test_an_unprotected_resource_that_left_the_estate_goes() -> None:
    plan, held = hold_protected(PLAN[1:2], state(entry("Vpc", VPC), entry("Disk", DISK)))
    assert [p.logical_name for p in plan] == ["disk-db-1-data"]
    assert held == ()


def test_a_protected_resource_keeps_its_values_where_a_change_would_replace_it() -> None:
    old = DISK.model_copy(update={"zone": "b"})
    plan, held = hold_protected(PLAN, state(entry("Disk", old)))
    assert plan[1].inputs == old
    assert [(h.logical_name, h.properties) for h in held] == [("disk-db-1-data", ("zone",))]


def test_a_disk_may_grow_and_may_not_shrink() -> None:
    larger = state(entry("Disk", DISK.model_copy(update={"size_gib": 200})))
    smaller = state(entry("Disk", DISK.model_copy(update={"size_gib": 50})))
    assert destructive_changes(PLAN[1], known_resources(larger)[0]) == ("size_gib",)
    assert destructive_changes(PLAN[1], known_resources(smaller)[0]) == ()


def test_a_pending_creation_that_happened_is_taken_over() -> None:
    pending = [{"type": "creating", "resource": entry("Disk", DISK) | {"id": ""}}]
    found = DISK.model_copy(update={"size_gib": 90})
    resolved, notes = resolve_pending(
        state(pending_operations=pending), lambda kind, name: Actual(f"{kind}/{name}", found)
    )
    (known,) = known_resources(resolved)
    assert (known.id, known.inputs["size_gib"]) == ("Disk/db-1-data", 90)
    assert "pending_operations" not in resolved
    assert notes == ["disk-db-1-data: had been created when the last run ended; taken over"]


def test_a_pending_creation_that_did_not_happen_is_dropped() -> None:
    pending = [{"type": "creating", "resource": entry("Disk", DISK)}]
    resolved, notes = resolve_pending(state(pending_operations=pending), lambda _kind, _name: None)
    assert known_resources(resolved) == []
    assert len(notes) == 1


def test_a_pending_change_leaves_the_resource_where_it_is() -> None:
    pending = [{"type": "updating", "resource": entry("Disk", DISK)}]
    before = state(entry("Disk", DISK), pending_operations=pending)
    resolved, _ = resolve_pending(before, lambda _kind, _name: None)
    assert resolved["resources"] == before["resources"]
    assert "pending_operations" in before, "the given state is not changed"


def test_protection_is_taken_only_from_the_named() -> None:
    other = DISK.model_copy(update={"name": "db-2-data"})
    marks = {"protect": True, "retainOnDelete": True}
    before = state(entry("Disk", DISK, **marks), entry("Disk", other, **marks))
    _, first, second = unprotect(before, {"disk-db-1-data"})["resources"]
    assert "protect" not in first
    assert "retainOnDelete" not in first
    assert second["protect"]
    assert second["retainOnDelete"]


def test_what_a_protected_resource_depends_on_is_kept_with_it() -> None:
    deployment = state(entry("Vpc", VPC), entry("ElasticIp", IP, dependencies=[urn("Vpc", "vpc")]))
    assert kept(deployment, frozenset()) == {"elasticip-web", "vpc-vpc"}
    assert kept(deployment, frozenset({"elasticip-web"})) == frozenset()


def settled_state(**more: Any) -> dict[str, Any]:
    guarded = [entry(k, i, protect=True) for k, i in (("Disk", DISK), ("ElasticIp", IP))]
    return state(entry("Vpc", VPC), *guarded, **more)


def test_a_state_that_is_the_plan_needs_no_engine() -> None:
    assert settled(PLAN, settled_state())


def test_whatever_differs_from_the_plan_needs_the_engine() -> None:
    assert not settled(PLAN, {})
    assert not settled(PLAN[:2], settled_state())
    assert not settled(PLAN, settled_state(pending_operations=[{}]))
    assert not settled(
        PLAN, state(entry("Vpc", VPC), entry("Disk", DISK), entry("ElasticIp", IP, protect=True))
    )
    resized = PlannedResource("Disk", DISK.model_copy(update={"size_gib": 200}))
    assert not settled((PLAN[0], resized, PLAN[2]), settled_state())
    replaced = settled_state()
    replaced["resources"].append(entry("Vpc", VPC, delete=True))
    assert not settled(PLAN, replaced)
