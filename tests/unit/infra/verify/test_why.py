from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.services.catalogue import SERVICES
from infra.verify import why
from infra.verify.declared import declaration_place, rules_needed

if TYPE_CHECKING:
    from infra.verify.why import Chain

LAB = load_estate("lab")
ROOT = Path(__file__).parents[4]


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths("lab", tmp_path)


def chain(
    paths: EstatePaths,
    source: str,
    to: str,
    port: int,
    protocol: str = "tcp",
    counters: dict[str, int] | None = None,
) -> Chain:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(why, "live_counters", lambda *_: counters)
        return why.explain(LAB, "lab", paths, source, to, port, protocol)


def test_open_pair_has_estate_lines_declaration_rules_and_counters(paths: EstatePaths) -> None:
    counters = {"sg:app-1:out:tcp:3306:10.20.2.10/32": 12, "sg:db-1:in:tcp:3306:10.20.1.10/32": 11}
    found = chain(paths, "app-1", "db-1", 3306, counters=counters)
    assert found.permitted
    for fact, role in zip(found.lines, ("roles: [app]", "roles: [db]"), strict=True):
        file, _, line = fact.where.rpartition(":")
        assert role in Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert found.declaration.where.startswith("infra/services/data.py:")
    assert [(r.group, r.direction, r.packets, r.installed) for r in found.rules] == [
        ("app-1", "out", 12, True),
        ("db-1", "in", 11, True),
    ]
    assert "12 packets permitted" in "\n".join(found.as_text())


def test_closed_pair_says_who_may_and_that_no_rule_permits(paths: EstatePaths) -> None:
    found = chain(paths, "app-1", "db-1", 22, counters={"sg:app-1:out:drop": 7, "sg:db-1:in:drop": 0})
    assert not found.permitted
    assert "may only be called by bastion" in found.declaration.text
    assert [(r.permits, r.packets) for r in found.rules] == [(False, 7), (False, 0)]
    assert "no rule: dropped by default" in found.rules[0].text


def test_a_declared_rule_that_the_fabric_lacks_is_called_out(paths: EstatePaths) -> None:
    found = chain(paths, "app-1", "db-1", 3306, counters={"sg:app-1:out:tcp:3306:10.20.2.10/32": 1})
    assert [r.installed for r in found.rules] == [True, False]
    assert "NOT in the fabric" in "\n".join(found.as_text())


def test_line_needs_the_gateways_way_out_and_a_rule_for_each_line_address(paths: EstatePaths) -> None:
    found = chain(paths, "edge-1", "app-1", 8444)
    assert found.permitted
    assert "ops-1 or app-2" in found.route
    assert [(r.group, r.direction) for r in found.rules] == [
        ("ops-1", "out"),
        ("app-2", "out"),
        ("app-1", "in"),
        ("app-1", "in"),
    ]
    assert {r.text.rpartition(" ")[2] for r in found.rules[2:]} == {"10.20.0.200/32", "10.20.1.201/32"}
    assert any(fact.text.startswith("line: edge-1") for fact in found.lines)


def test_hosts_apart_are_stopped_by_the_sources_own_fabric(paths: EstatePaths) -> None:
    found = chain(paths, "his-1", "app-1", 8444)
    assert not found.permitted
    assert [(r.group, r.direction, r.permits) for r in found.rules] == [("his-1", "out", False)]


def test_callers_from_outside_can_be_asked_about(paths: EstatePaths) -> None:
    assert chain(paths, "operators", "ops-1", 22).permitted
    assert not chain(paths, "operators", "db-1", 22).permitted
    assert chain(paths, "load-balancer:web", "app-1", 443).permitted
    assert chain(paths, "sites", "ops-1", 51820, "udp").permitted


def test_the_providers_store_is_asked_about_as_a_host_is(paths: EstatePaths) -> None:
    near, far = "object-storage:cn-north-1", "object-storage:cn-east-2"
    counters = {"sg:app-1:out:tcp:443:100.64.1.10/32": 5, "sg:s3-cn-north-1:in:tcp:443:10.20.1.10/32": 5}
    found = chain(paths, "app-1", near, 443, counters=counters)
    assert found.permitted
    assert [(r.group, r.packets, r.installed) for r in found.rules] == [
        ("app-1", 5, True),
        ("s3-cn-north-1", 5, True),
    ]
    assert found.declaration.where.startswith("infra/services/storage.py:")
    assert any("s3.cn-north-1.lab.yiyun.internal" in f.text for f in found.lines)
    remote = chain(paths, "ops-1", far, 443)
    assert [r.text.rpartition(" ")[2] for r in remote.rules] == [
        "100.64.2.10/32",
        "100.64.1.1/32",
        "100.64.2.1/32",
    ]
    refused = chain(paths, "his-1", near, 443)
    assert not refused.permitted
    assert "may only be called by object-mount, object-copy, backup" in refused.declaration.text
    assert [(r.group, r.permits) for r in refused.rules] == [("his-1", False)]
    outside = chain(paths, "edge-1", near, 443)
    assert [(r.group, r.permits) for r in outside.rules] == [("edge-1", False)]


def test_a_port_nobody_declares_says_so(paths: EstatePaths) -> None:
    assert chain(paths, "app-1", "db-1", 6379).declaration.text == "no service of db-1 listens at 6379/tcp"


@pytest.mark.parametrize(
    ("source", "to", "port", "protocol", "hint"),
    [
        ("app-9", "db-1", 22, "tcp", "app-1"),
        ("app-1", "db-9", 22, "tcp", "db-1"),
        ("app-1", "app-1", 22, "tcp", "two different hosts"),
        ("app-1", "db-1", 0, "tcp", "65535"),
        ("app-1", "db-1", 70000, "tcp", "65535"),
        ("app-1", "db-1", 22, "sctp", "tcp or udp"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_names_that_do(
    paths: EstatePaths, source: str, to: str, port: int, protocol: str, hint: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        chain(paths, source, to, port, protocol)
    assert hint in caught.value.hint


@pytest.mark.parametrize("service", [s for s in SERVICES if s.listens], ids=lambda s: s.name)
def test_every_declared_port_is_found_in_its_source(service) -> None:
    for port in service.listens:
        file, _, line = declaration_place(service.name, port.name).partition(":")
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        assert f'Port("{port.name}"' in "".join(lines[int(line) - 1 : int(line) + 1]).replace(" ", "")


def test_every_rule_that_is_needed_is_one_the_plan_installs() -> None:
    from infra.estate.plan import plan_resources
    from infra.resources import SecurityGroup

    groups = {r.inputs.name: r.inputs for r in plan_resources(LAB) if isinstance(r.inputs, SecurityGroup)}
    needed = rules_needed(LAB, "edge-1", "ops-1", 8443, "tcp")
    assert needed
    assert all(n.rule in groups[n.group].rules for n in needed)
