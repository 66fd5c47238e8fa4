"""Stages of the alerts: templates by Zabbix's own comparison, then alerts and items where they stand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra.provider.differences import PropertyChange
from monitoring.export import RULES, export_of
from monitoring.model import MARK
from monitoring.plan import Planned, planned
from monitoring.views import SEVERITIES, actual_trigger, declared_trigger, differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from infra.engine.changes import Action
    from monitoring.api import Zabbix
    from monitoring.model import Desired, Trigger

Place = tuple[str, str]
"""Where an alert stands: (host, title); an estate-wide one at the first of its hosts."""
ACTIONS: dict[str, Action] = {"added": "create", "updated": "update", "removed": "delete"}
NESTED = {
    "items": "Item",
    "triggers": "Trigger",
    "discovery_rules": "DiscoveryRule",
    "dashboards": "Dashboard",
}


def templates(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Templates that are missing or were changed, as Zabbix itself compares them with our export."""
    source = json.dumps(export_of(wanted.templates), ensure_ascii=False)
    parameters = {"format": "json", "source": source, "rules": RULES}
    found = zabbix.call("configuration.importcompare", parameters)
    call = ("configuration.import", parameters)
    return [planned(kind, name, action, call, changes) for kind, name, action, changes in flattened(found)]


def flattened(found: Any) -> Iterator[tuple[str, str, Action, tuple[PropertyChange, ...]]]:
    """`importcompare`'s answer as a list of changes: (kind, name, action, properties). Pure."""
    if not found:
        return
    for name, kind in (
        ("template_groups", "TemplateGroup"),
        ("templates", "Template"),
        ("triggers", "Trigger"),
    ):
        yield from _flattened(kind, found.get(name, {}), "")


def _flattened(
    kind: str, section: Mapping[str, Any], within: str
) -> Iterator[tuple[str, str, Action, tuple[PropertyChange, ...]]]:
    for how, action in ACTIONS.items():
        for entry in section.get(how, []):
            before, after = entry.get("before", {}), entry.get("after", {})
            shown = after or before
            name = str(shown.get("template") or shown.get("name") or shown.get("key") or "?")
            full = f"{within}/{name}" if within else name
            properties = tuple(
                PropertyChange(p, after.get(p), before.get(p))
                for p in sorted(before.keys() | after.keys())
                if before.get(p) != after.get(p)
            )
            nested = [n for n in NESTED if n in entry]
            if how != "updated" or properties or not nested:
                yield kind, full, action, properties if how == "updated" else ()
            for part in nested:
                yield from _flattened(NESTED[part], entry[part], full)


def estate_triggers(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Estate-wide alerts that are missing, differ, or are declared no more."""
    have = {
        t["description"]: t
        for t in _triggers(zabbix, wanted)
        if t["templateid"] == "0" and {"tag": MARK[0], "value": MARK[1]} in t["tags"]
    }
    plan: list[Planned] = []
    for trigger in wanted.triggers:
        found, declared = have.pop(trigger.title, None), declared_trigger(trigger)
        if found is None:
            call = ("trigger.create", trigger_parameters(trigger))
            plan.append(planned("Trigger", trigger.title, "create", call))
        elif differing := differences(declared, actual_trigger(found)):
            call = ("trigger.update", {"triggerid": found["triggerid"], **trigger_parameters(trigger)})
            plan.append(planned("Trigger", trigger.title, "update", call, differing))
    plan += [
        planned("Trigger", name, "delete", ("trigger.delete", t["triggerid"])) for name, t in have.items()
    ]
    return plan


def trigger_parameters(trigger: Trigger) -> dict[str, Any]:
    """What `trigger.create` and `trigger.update` are given."""
    return {
        "description": trigger.title,
        "expression": trigger.expression,
        "priority": SEVERITIES[trigger.severity],
        "comments": trigger.comments,
        "status": "0",
        "tags": [{"tag": name, "value": value} for name, value in trigger.tags],
    }


def inherited(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Alerts and items that a host has of a template and that were changed on the host itself."""
    declared = {(t.name, x.title): x for t in wanted.templates for x in t.triggers}
    by_title = {title: x for (_, title), x in declared.items()}
    plan: list[Planned] = []
    for found in _triggers(zabbix, wanted):
        trigger = by_title.get(found["description"])
        if found["templateid"] == "0" or trigger is None:
            continue
        view, actual = declared_trigger(trigger), actual_trigger(found)
        for name in ("expression", "comments", "tags"):  # the template's, and compared there
            view.pop(name)
        differing = differences(view, actual)
        if differing:
            fixed = {"status": "0", "priority": SEVERITIES[trigger.severity]}
            call = ("trigger.update", {"triggerid": found["triggerid"], **fixed})
            name = f"{found['hosts'][0]['host']}/{trigger.title}"
            plan.append(planned("Trigger", name, "update", call, differing))
    return [*plan, *_disabled_items(zabbix, wanted)]


def _disabled_items(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    question = {
        "output": ["itemid", "name"],
        "hostids": list(_host_ids(zabbix, wanted).values()),
        "inherited": True,
        "filter": {"status": 1},
        "selectHosts": ["host"],
    }
    return [
        planned(
            "Item",
            f"{item['hosts'][0]['host']}/{item['name']}",
            "update",
            ("item.update", {"itemid": item["itemid"], "status": "0"}),
            (PropertyChange("enabled", True, False),),
        )
        for item in zabbix.call("item.get", question)
    ]


def explanations(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Dependencies between alerts that differ. Alerts of hosts that are not there yet come with them."""
    found = _triggers(zabbix, wanted)
    places = {t["triggerid"]: _place(t, wanted) for t in found}
    ids = {place: identifier for identifier, place in places.items()}
    declared = declared_explanations(wanted)
    plan: list[Planned] = []
    for trigger in found:
        at = places[trigger["triggerid"]]
        if at is None or not _is_ours(trigger):
            continue
        want = {p for p in declared.get(at, set()) if p in ids}
        have = {places.get(d["triggerid"]) or ("?", d["description"]) for d in trigger["dependencies"]}
        if want != have:
            change = PropertyChange("after", _shown(want), _shown(have))
            depends = [{"triggerid": ids[p]} for p in sorted(want)]
            call = ("trigger.update", {"triggerid": trigger["triggerid"], "dependencies": depends})
            plan.append(planned("Trigger", "/".join(at), "update", call, (change,)))
    return plan


def declared_explanations(wanted: Desired) -> dict[Place, set[Place]]:
    """Place of an alert → places of the alerts that explain it: those of its template, and the estate's."""
    result: dict[Place, set[Place]] = {}
    for host in wanted.hosts:
        for template in wanted.templates:
            for trigger in template.triggers if template.name in host.templates else ():
                causes = result.setdefault((host.name, trigger.title), set())
                causes |= {(host.name, title) for _, title in trigger.after}
    for explanation in wanted.explanations:
        result.setdefault(explanation.of, set()).add(explanation.by)
    return result


def _shown(places: set[Place]) -> list[str]:
    return sorted("/".join(place) for place in places)


def _is_ours(trigger: Mapping[str, Any]) -> bool:
    return {"tag": MARK[0], "value": MARK[1]} in trigger["tags"]


def _place(trigger: Mapping[str, Any], wanted: Desired) -> Place | None:
    named = {h["host"] for h in trigger["hosts"]}
    first = next((h.name for h in wanted.hosts if h.name in named), None)
    return None if first is None else (first, trigger["description"])


def _host_ids(zabbix: Zabbix, wanted: Desired) -> dict[str, str]:
    names = [h.name for h in wanted.hosts]
    found = zabbix.call("host.get", {"output": ["hostid", "host"], "filter": {"host": names}})
    return {h["host"]: h["hostid"] for h in found}


def _triggers(zabbix: Zabbix, wanted: Desired) -> list[dict[str, Any]]:
    ids = list(_host_ids(zabbix, wanted).values())
    if not ids:
        return []
    question = {
        "output": ["triggerid", "description", "expression", "priority", "status", "comments", "templateid"],
        "hostids": ids,
        "expandExpression": True,
        "selectTags": ["tag", "value"],
        "selectHosts": ["host"],
        "selectDependencies": ["triggerid", "description"],
    }
    return zabbix.call("trigger.get", question)
