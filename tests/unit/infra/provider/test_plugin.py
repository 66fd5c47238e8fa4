from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from infra.drivers.lab.driver import LabDriver
from infra.drivers.registry import driver_for_preview, driver_named
from infra.errors import BadInputError, YiyunError
from infra.estate.loading import load_estate
from infra.estate.plan import plan_resources
from infra.paths import EstatePaths
from infra.provider.differences import changed_properties, property_changes
from infra.provider.plugin import EstateProvider, kind_of, make, plain, properties
from infra.resources import Disk, ElasticIp, Vpc

if TYPE_CHECKING:
    from pathlib import Path

DISK = Disk(name="db-1-data", size_gib=100, size_mib=2048, zone="a")


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:lab::yiyun::yiyun:index:{kind}::{name}"


@pytest.fixture
def driver(tmp_path: Path) -> LabDriver:
    return LabDriver(tmp_path)


def check(driver: LabDriver, kind: str, values: dict[str, PropertyValue]) -> rpc.CheckResponse:
    return asyncio.run(EstateProvider(driver).check(rpc.CheckRequest(urn(kind, "x"), {}, values, b"")))


@pytest.mark.parametrize("resource", plan_resources(load_estate("lab")), ids=lambda r: r.logical_name)
def test_every_planned_input_crosses_the_engine_unchanged(resource, driver: LabDriver) -> None:
    values = properties(resource.inputs)
    assert (
        plain({k: PropertyValue.unmarshal(v.marshal()) for k, v in values.items()})
        == resource.inputs.model_dump()
    )
    assert not check(driver, resource.kind, values).failures


def test_failures_name_each_property(driver: LabDriver) -> None:
    values = properties(DISK) | {"size_gib": PropertyValue("much"), "colour": PropertyValue("red")}
    failures = check(driver, "Disk", values).failures
    assert {f.property for f in failures or []} == {"size_gib", "colour"}


def test_the_lab_refuses_an_image_it_cannot_build(driver: LabDriver) -> None:
    host = next(r.inputs for r in plan_resources(load_estate("lab")) if r.kind == "Host")
    (failure,) = (
        check(driver, "Host", properties(host.model_copy(update={"image": "windows-95"}))).failures or []
    )
    assert failure.property == "image"
    assert "windows-95" in failure.reason


def diff(driver: LabDriver, old: Disk, new: Disk) -> rpc.DiffResponse:
    request = rpc.DiffRequest(urn("Disk", "x"), "x", properties(old), properties(new), [])
    return asyncio.run(EstateProvider(driver).diff(request))


def test_a_change_in_place_is_an_update(driver: LabDriver) -> None:
    response = diff(driver, DISK, DISK.model_copy(update={"size_gib": 200}))
    assert (response.changes, response.diffs, response.replaces) == (True, ["size_gib"], [])


def test_an_immutable_change_replaces_and_deletes_first(driver: LabDriver) -> None:
    response = diff(driver, DISK, DISK.model_copy(update={"zone": "b"}))
    assert (response.replaces, response.delete_before_replace) == (["zone"], True)
    assert response.detailed_diff["zone"].kind is rpc.PropertyDiffKind.UPDATE_REPLACE


def test_equal_inputs_do_not_differ(driver: LabDriver) -> None:
    assert diff(driver, DISK, DISK).changes is False


def test_a_dry_run_writes_nothing(driver: LabDriver, tmp_path: Path) -> None:
    request = rpc.CreateRequest(urn("Disk", "x"), properties(DISK), 0, preview=True)
    assert asyncio.run(EstateProvider(driver).create(request)).resource_id is None
    update = rpc.UpdateRequest(urn("Disk", "x"), "db-1-data", {}, properties(DISK), 0, [], preview=True)
    asyncio.run(EstateProvider(driver).update(update))
    assert list(tmp_path.rglob("*.json")) == []


def test_creating_twice_is_creating_once(driver: LabDriver) -> None:
    assert make(driver, "Disk", DISK) == make(driver, "Disk", DISK)
    assert make(driver, "Disk", DISK.model_copy(update={"size_gib": 200})).inputs.size_gib == 200
    with pytest.raises(YiyunError, match="exists already with another zone"):
        make(driver, "Disk", DISK.model_copy(update={"zone": "b"}))


def test_a_lost_resource_reads_as_gone(driver: LabDriver) -> None:
    request = rpc.ReadRequest(urn("Disk", "x"), "db-1-data", {}, {})
    assert asyncio.run(EstateProvider(driver).read(request)).resource_id is None
    driver.create("Disk", DISK)
    assert plain(asyncio.run(EstateProvider(driver).read(request)).inputs) == DISK.model_dump()


def test_an_address_the_provider_chooses_is_no_difference() -> None:
    declared = ElasticIp(name="web", address="", package="shared", target="10.0.0.1").model_dump()
    assert changed_properties("ElasticIp", declared, declared | {"address": "203.0.113.9"}) == []
    assert changed_properties("ElasticIp", declared | {"address": "1.2.3.4"}, declared) == ["address"]


def test_of_lists_only_the_items_that_differ_are_shown() -> None:
    old = {"name": "a", "rules": [{"port": 22}, {"port": 443}], "health": {"path": "/", "rise": 2}}
    new = {"name": "a", "rules": [{"port": 22}, {"port": 80}], "health": {"path": "/", "rise": 3}}
    shown = [(c.name, c.declared, c.actual) for c in property_changes("Listener", new, old)]
    assert shown == [("health.rise", 3, 2), ("rules", [{"port": 80}], [{"port": 443}])]


def test_a_changed_order_is_shown_whole() -> None:
    (change,) = property_changes("Host", {"x": [1, 2]}, {"x": [2, 1]})
    assert (change.declared, change.actual) == ([1, 2], [2, 1])


def test_unknown_kinds_and_providers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(YiyunError, match="no resource kind Toaster"):
        kind_of("yiyun:index:Toaster")
    with pytest.raises(BadInputError, match="not available yet"):
        driver_named("jdcloud", EstatePaths("x", tmp_path))


def test_a_provider_without_a_driver_can_be_planned_for_and_nothing_else(tmp_path: Path) -> None:
    planner = driver_for_preview("jdcloud", EstatePaths("x", tmp_path))
    vpc = Vpc(name="vpc", region="north", cidr="10.0.0.0/16")
    assert (planner.check("Vpc", vpc), planner.find("Vpc", "vpc")) == ([], None)
    for call in (
        lambda: planner.create("Vpc", vpc),
        lambda: planner.read("Vpc", "vpc"),
        lambda: planner.update("Vpc", "vpc", vpc),
        lambda: planner.delete("Vpc", "vpc"),
    ):
        with pytest.raises(BadInputError, match="jdcloud is not available yet"):
            call()


PARENT = """
import subprocess, sys
plugin = subprocess.Popen(
    [sys.executable, "-m", "infra.provider.plugin", "127.0.0.1:1"], stdout=subprocess.PIPE, text=True
)
print(plugin.pid, plugin.stdout.readline().strip(), flush=True)
sys.stdin.read()
"""


def test_the_plugin_ends_when_its_engine_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        pid, port = map(int, engine.stdout.readline().split())
        assert port > 0
        plugin = psutil.Process(pid)
        engine.kill()
        _, alive = psutil.wait_procs([plugin], timeout=10)
    assert not alive
