"""What a change would interrupt is told by the drills of such an interruption, and their age."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from jsonschema import Draft202012Validator

from infra.engine.changes import Change
from infra.estate.loading import load_estate
from infra.estate.plan import plan_resources
from infra.provider.differences import PropertyChange
from runbooks.drills.blast import NEWEST, ROLES, Blast, blast_radius, broken_roles, words_of
from runbooks.drills.catalogue import shipped
from runbooks.drills.model import Drill
from runbooks.drills.ran import Ran
from tests.lab.harness import SCHEMAS

LAB = load_estate("lab")
NOW = datetime(2026, 11, 28, tzinfo=UTC)
KILL = shipped()["mysql-writer-kill"]
APP_LOSS = Drill.model_validate(
    {
        "name": "app-loss",
        "title": {"zh": "应用主机丢失", "en": "An app host is lost"},
        "procedure": "app-down",
        "hypothesis": ["platform-ready"],
        "workload": {"kind": "platform", "rate": 20, "clients": 4},
        "method": [{"faults": [{"kind": "host-lost", "host": "client"}]}],
        "objectives": {"rto_s": 1},
    }
)
DRILLS = {d.name: d for d in (KILL, APP_LOSS)}
REPLACED = Change("host-db-1", "Host", "replace", (PropertyChange("image", "b", "a"),))


def run(days: float, rto: float | None = 0.5, verdict: str = "passed", drill: str = KILL.name) -> Ran:
    given = {"drill": drill, "at": NOW - timedelta(days=days), "verdict": verdict, "rto_s": rto}
    return Ran.model_validate(given)


def radius(*changes: Change, runs: list[Ran] | None = None) -> list[Blast]:
    return blast_radius(changes, LAB, DRILLS, runs or [], NOW)


def test_a_replaced_member_says_what_its_last_drills_showed() -> None:
    runs = [run(n + 3, 0.4 + n / 100) for n in range(NEWEST + 5)]
    (found,) = radius(REPLACED, runs=runs)
    assert (found.drill, found.runs, found.newest_days, found.stale) == (KILL.name, NEWEST, 3, True)
    assert (found.rto_p50_s, found.rto_max_s) == (pytest.approx(0.49), pytest.approx(0.59))
    assert str(found) == (
        "replaces db-1: mysql-writer-kill 0.5 s, at most 0.6 s; "
        "20 drills, newest 3 days old; stale after this"
    )


def test_what_a_preview_says_fits_its_schema() -> None:
    schema = json.loads((SCHEMAS / "preview.json").read_text(encoding="utf-8"))["properties"]["blast_radius"]
    said = [b.as_json() for b in [*radius(REPLACED, runs=[run(3)]), *radius(REPLACED)]]
    assert len(said) == 2
    Draft202012Validator(schema).validate(said)


def test_what_was_never_rehearsed_is_said_so_and_cannot_be_stale() -> None:
    (found,) = radius(REPLACED, runs=[run(1, verdict="void"), run(1, verdict="aborted")])
    assert (found.runs, found.rto_p50_s, found.newest_days, found.stale) == (0, None, None, False)
    assert str(found) == "replaces db-1: mysql-writer-kill was never rehearsed"


def test_a_failed_drill_counts_and_one_that_never_recovered_is_no_zero() -> None:
    (found,) = radius(REPLACED, runs=[run(0, None, "failed")])
    assert (found.runs, found.rto_p50_s) == (1, None)
    assert "nobody was served again; 1 drill today" in str(found)


@pytest.mark.parametrize(
    ("change", "drills"),
    [
        (Change("host-app-1", "Host", "update", (PropertyChange("memory_mib", 2, 1),)), {"app-loss"}),
        (Change("host-app-1", "Host", "delete"), {"app-loss"}),
        (Change("disk-db-2-data", "Disk", "replace"), {KILL.name}),
        (Change("listener-web-443", "Listener", "update"), {"app-loss"}),
        (Change("loadbalancer-web", "LoadBalancer", "replace"), {"app-loss"}),
        (Change("host-db-1", "Host", "create"), set()),
        (Change("host-db-1", "Host", "update", (PropertyChange("authorized_key", "b", "a"),)), set()),
        (Change("host-his-1", "Host", "replace"), set()),
        (Change("securitygroup-db-1", "SecurityGroup", "update"), set()),
        (Change("bucket-attachments", "Bucket", "update"), set()),
    ],
)
def test_a_change_meets_the_drills_of_what_it_interrupts(change: Change, drills: set[str]) -> None:
    assert {b.drill for b in radius(change)} == drills


def test_a_drill_from_the_premises_does_not_pass_the_balancer() -> None:
    drills = {name: shipped()[name] for name in ("line-cut", "edge-loss", "app-loss")}
    found = blast_radius([Change("loadbalancer-web", "LoadBalancer", "replace")], LAB, drills, [], NOW)
    assert {b.drill for b in found} == {"app-loss"}


def test_a_host_and_its_disk_are_two_changes_and_each_is_told_once() -> None:
    disk = Change("disk-db-1-data", "Disk", "update")
    assert [b.change for b in radius(REPLACED, disk, REPLACED)] == ["replaces db-1", "restarts db-1-data"]


def test_the_names_of_changes_are_those_of_the_plan() -> None:
    """A renamed resource would silently interrupt nothing."""
    names = {r.logical_name for r in plan_resources(LAB)}
    assert {"host-app-1", "disk-db-2-data", "listener-web-443", "loadbalancer-web", "tunnel-app-2"} <= names


def test_every_word_that_shipped_drills_use_for_a_host_is_one_that_changes_can_meet() -> None:
    """A new word for a host needs a line in `blast.ROLES`."""
    words = frozenset[str]().union(*(words_of(drill) for drill in shipped().values()))
    assert "writer" in words
    assert sorted(words - set(ROLES) - {h.name for h in LAB.hosts}) == []


def test_a_drill_may_name_a_host_or_a_word() -> None:
    named = KILL.model_dump(mode="json")
    named["method"][0]["faults"][0]["host"] = "app-2"
    assert broken_roles(Drill.model_validate(named), LAB) == {"app", "gateway"}
    assert broken_roles(KILL, LAB) == {"db"}
