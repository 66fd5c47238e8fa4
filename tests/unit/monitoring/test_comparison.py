"""What Zabbix returns and what is declared meet in one shape, and only real differences are told."""

from __future__ import annotations

import json
import uuid
from typing import Any

from infra.engine.changes import Change
from monitoring.alerts import flattened
from monitoring.export import export_of, keys_in, stable_uuid
from monitoring.model import MARK, Host, Item, Step, Template, Trigger
from monitoring.plan import Planned, calls
from monitoring.stages import Identifiers, host_parameters, host_update, hosts, strays
from monitoring.views import actual_host, declared_host, differences
from tests.unit.monitoring.test_derive import WANTED

HOST = next(h for h in WANTED.hosts if h.name == "edge-1")


def as_zabbix_returns(host: Host) -> dict[str, Any]:
    tags = [*host.tags, *((("psk", host.key.mark),) if host.key else ())]
    return {
        "hostid": "7",
        "host": host.name,
        "status": "0",
        "proxyid": "3",
        "tls_accept": "2",
        "tls_connect": "2",
        "hostgroups": [{"name": g} for g in reversed(host.groups)],
        "parentTemplates": [
            {"templateid": str(n), "host": t} for n, t in enumerate(reversed(host.templates))
        ],
        "tags": [{"tag": n, "value": v} for n, v in reversed(tags)],
        "macros": [{"macro": n, "value": v} for n, v in host.macros],
        "interfaces": [{"interfaceid": "5", "ip": host.address}],
    }


class Recorded:
    """Answers each method with what a server was seen to answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def call(self, method: str, _: Any) -> Any:
        return self.answers.get(method.replace(".", "_"), [])


def test_an_equal_host_has_no_difference_whatever_the_order() -> None:
    assert differences(declared_host(HOST), actual_host(as_zabbix_returns(HOST), {"3": "edge-1"})) == ()


def test_every_hand_made_change_of_a_host_is_named() -> None:
    for change, name in (
        ({"status": "1"}, "enabled"),
        ({"proxyid": "0"}, "proxy"),
        ({"tls_accept": "3"}, "encryption"),
        ({"interfaces": [{"interfaceid": "5", "ip": "10.0.0.1"}]}, "address"),
        ({"hostgroups": []}, "groups"),
        ({"parentTemplates": []}, "templates"),
        ({"tags": []}, "tags"),
        ({"macros": []}, "macros"),
    ):
        found = {**as_zabbix_returns(HOST), **change}
        (difference,) = differences(declared_host(HOST), actual_host(found, {"3": "edge-1"}))
        assert difference.name == name


def test_a_host_that_lost_a_template_gets_it_back_and_a_strange_one_is_cleared() -> None:
    found = as_zabbix_returns(HOST)
    found["parentTemplates"] = [{"templateid": "99", "host": "strange"}]
    ids = Identifiers({}, {name: f"t-{name}" for name in HOST.templates}, {"edge-1": "3"})
    parameters = host_update(HOST, ids, found, {"templates"})
    assert parameters["templates_clear"] == [{"templateid": "99"}]
    assert {t["templateid"] for t in parameters["templates"]} == {f"t-{name}" for name in HOST.templates}
    assert "tls_psk" not in parameters, "a key is written only when it differs"


def test_a_new_key_is_written_with_its_mark() -> None:
    found = as_zabbix_returns(HOST)
    found["tags"] = [t for t in found["tags"] if t["tag"] != "psk"] + [{"tag": "psk", "value": "old"}]
    parameters = host_update(HOST, Identifiers({}, {}, {}), found, {"tags"})
    assert HOST.key
    assert parameters["tls_psk"] == HOST.key.value
    assert {"tag": "psk", "value": HOST.key.mark} in parameters["tags"]


def test_plans_show_no_key() -> None:
    plan = hosts(Recorded(), WANTED)  # pyright: ignore[reportArgumentType]
    assert [p.change.action for p in plan] == ["create"] * len(WANTED.hosts)
    assert HOST.key
    assert HOST.key.value in json.dumps([p.parameters for p in plan])
    assert HOST.key.value not in repr(plan)


def test_only_what_is_marked_is_removed() -> None:
    zabbix = Recorded(
        host_get=[{"hostid": "1", "host": "old-1"}],
        proxy_get=[
            {"proxyid": "1", "name": "theirs", "description": "by hand"},
            {"proxyid": "2", "name": "old", "description": "managed by yiyun; psk x"},
        ],
        hostgroup_get=[
            {"groupid": "1", "name": "Linux servers"},
            {"groupid": "2", "name": "yiyun/role/old"},
            {"groupid": "3", "name": "yiyun"},
        ],
    )
    gone = {(p.change.kind, p.change.resource) for p in strays(zabbix, WANTED)}  # pyright: ignore[reportArgumentType]
    assert gone == {("Host", "old-1"), ("Proxy", "old"), ("HostGroup", "yiyun/role/old")}


def test_a_host_is_created_with_its_references() -> None:
    ids = Identifiers({g: g for g in HOST.groups}, {t: t for t in HOST.templates}, {"edge-1": "3"})
    parameters = host_parameters(HOST, ids)
    assert (parameters["monitored_by"], parameters["proxyid"]) == (1, "3")
    assert (parameters["tls_connect"], parameters["tls_accept"]) == ("2", "2")


def test_identifiers_are_of_the_only_version_zabbix_takes() -> None:
    made = uuid.UUID(stable_uuid("item", "a", "b"))
    assert made.version == 4
    assert stable_uuid("item", "a", "b") == made.hex != stable_uuid("item", "a", "c")


def test_alerts_stand_beneath_their_item_or_at_the_root() -> None:
    items = (Item("a[1]", "A"), Item("a[1,2]", "B", steps=(Step("regex", ("x", "y"), "0"),)))
    one = Trigger("one", "One", "max(/t/a[1],#3)=0", "high", (MARK,), "")
    both = Trigger("both", "Both", "last(/t/a[1])=0 and last(/t/a[1,2])=0", "high", (MARK,), "")
    template = Template("t", items, (one, both))
    assert keys_in(one, template) == {"a[1]"}
    body = export_of((template,))["zabbix_export"]
    first, second = body["templates"][0]["items"]
    assert [t["name"] for t in first["triggers"]] == ["One"]
    assert "triggers" not in second
    assert [t["name"] for t in body["triggers"]] == ["Both"]
    assert second["preprocessing"][0]["error_handler_params"] == "0"


def test_zabbixs_own_comparison_becomes_changes_with_names() -> None:
    found = {
        "templates": {
            "updated": [
                {
                    "before": {"uuid": "1", "template": "t"},
                    "after": {"uuid": "1", "template": "t"},
                    "items": {
                        "updated": [
                            {
                                "before": {"name": "A", "key": "a"},
                                "after": {"name": "A", "key": "a"},
                                "triggers": {
                                    "updated": [
                                        {
                                            "before": {"name": "One", "priority": "WARNING"},
                                            "after": {"name": "One", "priority": "HIGH"},
                                        }
                                    ]
                                },
                            }
                        ],
                        "removed": [{"before": {"name": "by hand", "key": "x"}}],
                    },
                }
            ]
        }
    }
    changes = list(flattened(found))
    assert [(kind, name, action) for kind, name, action, _ in changes] == [
        ("Trigger", "t/A/One", "update"),
        ("Item", "t/by hand", "delete"),
    ]
    (severity,) = changes[0][3]
    assert (severity.name, severity.declared, severity.actual) == ("priority", "HIGH", "WARNING")
    assert list(flattened([])) == []


def test_calls_of_one_method_go_together_and_an_import_goes_once() -> None:
    def entry(method: str, parameters: Any) -> Planned:
        return Planned(Change("x", "Host", "create"), method, parameters)

    plan = [entry("configuration.import", {"s": 1})] * 3 + [entry("trigger.create", n) for n in range(3)]
    assert list(calls(plan)) == [("configuration.import", {"s": 1}), ("trigger.create", [0, 1, 2])]


def test_hosts_inherit_from_their_templates_one_by_one() -> None:
    plan = [Planned(Change(n, "Host", "create"), "host.create", {"host": n}) for n in ("a", "b")]
    assert list(calls(plan)) == [("host.create", [{"host": "a"}]), ("host.create", [{"host": "b"}])]
