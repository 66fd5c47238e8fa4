"""What Zabbix should hold follows from the estate: every host, its templates, its key, what explains what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.estate.loading import load_estate
from infra.services.monitoring import MONITORED_ROLES
from monitoring.catalogue import alert_files, item_keys, template_files, with_keys, with_ports
from monitoring.derive import desired, psk
from monitoring.model import MARK
from runbooks.drills.catalogue import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.estate.model import Host

LAB = load_estate("lab")
PAGES = Path(__file__).parents[3] / "runbooks" / "procedures"


def secrets_of(host: Host) -> Mapping[str, str]:
    names = ["zabbix-agent-psk"] if set(host.roles) & set(MONITORED_ROLES) else []
    names += ["zabbix-proxy-psk"] if "edge" in host.roles else []
    return {name: f"{host.name}/{name}" for name in names}


WANTED = desired(LAB, secrets_of)


def test_every_host_of_the_estate_is_watched() -> None:
    assert [h.name for h in WANTED.hosts] == [h.name for h in LAB.hosts]
    assert all(MARK in h.tags for h in WANTED.hosts)


def test_the_premises_are_watched_by_their_own_proxy_and_the_cloud_by_the_server() -> None:
    assert {h.name: h.proxy for h in WANTED.hosts if h.proxy} == {"edge-1": "edge-1", "his-1": "edge-1"}
    assert [p.name for p in WANTED.proxies] == ["edge-1"]


def test_every_agent_has_a_key_of_its_own_and_the_hospitals_system_has_none() -> None:
    keys = {h.name: h.key for h in WANTED.hosts}
    assert keys.pop("his-1") is None
    values = [k.value for k in keys.values() if k] + [p.key.value for p in WANTED.proxies]
    assert len(set(values)) == len(keys) + 1


def test_a_key_is_never_shown_and_its_mark_changes_with_it() -> None:
    one, other = psk("agent-x", "a" * 64), psk("agent-x", "b" * 64)
    assert one.mark != other.mark
    assert "a" * 8 not in repr(one)
    assert "a" * 8 not in repr(
        desired(LAB, lambda _: dict.fromkeys(("zabbix-agent-psk", "zabbix-proxy-psk"), "a" * 64))
    )


def test_a_hosts_templates_follow_from_what_it_runs() -> None:
    templates = {h.name: set(h.templates) for h in WANTED.hosts}
    assert "yiyun mysql member" in templates["db-2"]
    assert "yiyun line gateway" in templates["app-2"]
    assert "yiyun line gateway" not in templates["app-1"]
    assert "yiyun monitoring proxy" in templates["ops-1"]
    assert templates["his-1"] == {"yiyun outside host"}


def test_a_real_estate_watches_its_system_disks_and_a_lab_does_not() -> None:
    real = desired(load_estate("yucheng"), secrets_of)
    assert all("yiyun system disk" in h.templates for h in real.hosts)
    assert not [h for h in WANTED.hosts if "yiyun system disk" in h.templates]


def test_ports_come_from_the_declarations() -> None:
    assert with_ports("x[%{mysql-health.health}]") == "x[9201]"
    with pytest.raises(Exception, match="no port mysql"):
        with_ports("%{mysql.nonsense}")


@pytest.mark.parametrize("alert", alert_files(), ids=lambda a: a.id)
def test_every_alert_stands_on_what_exists(alert) -> None:
    assert bool(alert.template) != bool(alert.over), "either of a template or over a service"
    names = {t.name for t in template_files()}
    assert not alert.template or alert.template in names
    assert not alert.over or alert.over in {t.of for t in template_files()}
    assert set(alert.after + alert.after_if_proxied) <= {a.id for a in alert_files()}
    expression = with_keys(alert.when or alert.every)
    keys = [i.key for t in template_files() for i in t.items]
    for part in re.findall(r"/(?:T|HOST)/", expression):
        rest = expression[expression.index(part) + len(part) :]
        assert any(rest.startswith(key) for key in keys), rest[:60]


@pytest.mark.parametrize("alert", alert_files(), ids=lambda a: a.id)
def test_every_alert_has_a_page_that_says_what_to_do(alert) -> None:
    page = PAGES / f"{alert.runbook}.md"
    assert page.exists(), f"{alert.id} names {alert.runbook}"
    text = page.read_text(encoding="utf-8")
    assert f"id: {alert.runbook}\n" in text
    for part in ("看到什么", "是真的吗", "影响谁", "步骤", "确认恢复"):
        assert f"## {part}" in text, part
    assert "yiyun " in text, "a page without a command"


def test_no_page_is_for_nothing() -> None:
    rehearsed = {drill.procedure for drill in shipped().values()}
    used = {a.runbook for a in alert_files()} | {"monitoring-silent"} | rehearsed
    assert {p.stem for p in PAGES.glob("*.md")} == used


def test_alerts_have_titles_and_ids_of_their_own() -> None:
    alerts = alert_files()
    assert len({a.id for a in alerts}) == len({a.title for a in alerts}) == len(alerts)
    ids = [i.id for t in template_files() for i in t.items if i.id]
    assert len(set(ids)) == len(ids), "an id names one item, whatever template it is in"
    assert set(item_keys().values()) <= {i.key for t in template_files() for i in t.items}


def test_nothing_explains_itself_in_a_circle() -> None:
    edges = {a.id: set(a.after + a.after_if_proxied) for a in alert_files()}

    def reached(start: str, seen: frozenset[str] = frozenset()) -> set[str]:
        return {start}.union(*(reached(n, seen | {start}) for n in edges[start] - seen))

    for alert, causes in edges.items():
        for cause in causes:
            assert alert not in reached(cause)


def test_only_what_a_proxy_watches_is_explained_by_the_line() -> None:
    by_line = {e.of[0] for e in WANTED.explanations if e.by[1] == "加密专线中断"}
    assert {"edge-1", "his-1"} <= by_line
    assert not by_line & {"db-1", "db-2", "db-3", "app-1"}


def test_estate_wide_alerts_rest_on_every_host_of_their_service() -> None:
    quorum = next(t for t in WANTED.triggers if t.alert == "mysql-quorum-lost")
    assert re.findall(r"max\(/(db-\d)/", quorum.expression) == ["db-1", "db-2", "db-3"]
