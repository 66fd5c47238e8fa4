"""Templates → Zabbix's own export format, as an export of 7.0 writes it. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import TYPE_CHECKING, Any

from monitoring.model import DISCARD, GROUP_PREFIX, MARK

if TYPE_CHECKING:
    from monitoring.model import Item, Step, Template, Trigger

VERSION = "7.0"
"""A newer server still takes it; an older one refuses it."""
TYPES = {"active": "ZABBIX_ACTIVE", "internal": "INTERNAL", "simple": "SIMPLE", "calculated": "CALCULATED"}
KINDS = {"float": "FLOAT", "text": "TEXT"}
STEPS = {
    "not-supported": "CHECK_NOT_SUPPORTED",
    "regex": "REGEX",
    "jsonpath": "JSONPATH",
    "boolean": "BOOL_TO_DECIMAL",
    "javascript": "JAVASCRIPT",
    "unchanged": "DISCARD_UNCHANGED_HEARTBEAT",
    "per-second": "CHANGE_PER_SECOND",
    "in-range": "IN_RANGE",
}
RULES = {
    "template_groups": {"createMissing": True, "updateExisting": True},
    "templates": {"createMissing": True, "updateExisting": True},
    "templateLinkage": {"createMissing": True, "deleteMissing": True},
    "items": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
    "triggers": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
    "discoveryRules": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
    "graphs": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
    "httptests": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
    "templateDashboards": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
    "valueMaps": {"createMissing": True, "updateExisting": True, "deleteMissing": True},
}
"""Every class is named: what is not named is ignored, also by the comparison."""


def stable_uuid(*names: str) -> str:
    """A UUID in version 4's form, the same for the same names: Zabbix refuses other versions."""
    digest = bytearray(hashlib.sha256("\n".join(names).encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x40
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest)).hex


def export_of(templates: tuple[Template, ...]) -> dict[str, Any]:
    """The whole export. Alerts on one item stand beneath it, alerts on several at the root."""
    loose = [
        trigger_entry(t, template)
        for template in templates
        for t in template.triggers
        if len(keys_in(t, template)) > 1
    ]
    result: dict[str, Any] = {
        "version": VERSION,
        "template_groups": [{"uuid": stable_uuid("template group"), "name": GROUP_PREFIX}],
        "templates": [template_entry(t) for t in templates],
    }
    return {"zabbix_export": {**result, **({"triggers": loose} if loose else {})}}


def template_entry(template: Template) -> dict[str, Any]:
    """One template with its items."""
    entry: dict[str, Any] = {
        "uuid": stable_uuid("template", template.name),
        "template": template.name,
        "name": template.name,
        "groups": [{"name": GROUP_PREFIX}],
        "items": [item_entry(item, template) for item in template.items],
        "tags": [{"tag": MARK[0], "value": MARK[1]}],
    }
    if template.macros:
        entry["macros"] = [{"macro": name, "value": value} for name, value in template.macros]
    return entry


def item_entry(item: Item, template: Template) -> dict[str, Any]:
    """One item; fields with the vendor's default are left out, as an export leaves them out."""
    entry: dict[str, Any] = {
        "uuid": stable_uuid("item", template.name, item.key),
        "name": item.name,
        "key": item.key,
    }
    if item.master:
        entry |= {"type": "DEPENDENT", "delay": "0", "master_item": {"key": item.master}}
    else:
        entry |= {"type": TYPES[item.type]}
        entry |= {"delay": item.delay} if item.delay != "1m" else {}
    entry |= {"history": item.history} if item.history != "31d" else {}
    text = item.kind == "text"
    entry |= {"trends": "0"} if text or item.trends == "0" else {}
    entry |= {"trends": item.trends} if not text and item.trends not in {"0", "365d"} else {}
    entry |= {"value_type": KINDS[item.kind]} if item.kind in KINDS else {}
    entry |= {"units": item.units} if item.units else {}
    entry |= {"params": item.formula} if item.formula else {}
    entry |= {"timeout": item.timeout} if item.timeout else {}
    if item.steps:
        entry["preprocessing"] = [step_entry(s) for s in item.steps]
    nested = [t for t in template.triggers if keys_in(t, template) == {item.key}]
    if nested:
        entry["triggers"] = [trigger_entry(t, template) for t in nested]
    return entry


def step_entry(step: Step) -> dict[str, Any]:
    """One preprocessing step."""
    parameters = step.of or (("-1",) if step.type == "not-supported" else ("",))
    entry: dict[str, Any] = {"type": STEPS[step.type], "parameters": list(parameters)}
    if step.otherwise == DISCARD:
        entry |= {"error_handler": "DISCARD_VALUE"}
    elif step.otherwise is not None:
        entry |= {"error_handler": "CUSTOM_VALUE", "error_handler_params": step.otherwise}
    return entry


def trigger_entry(trigger: Trigger, template: Template) -> dict[str, Any]:
    """One alert."""
    entry: dict[str, Any] = {
        "uuid": stable_uuid("trigger", template.name, trigger.alert),
        "expression": trigger.expression,
        "name": trigger.title,
        "priority": trigger.severity.upper().replace("INFORMATION", "INFO"),
        "description": trigger.comments,
    }
    by_title = {t.title: t for t in template.triggers}
    if trigger.after:
        entry["dependencies"] = [
            {"name": title, "expression": by_title[title].expression} for _, title in trigger.after
        ]
    entry["tags"] = [{"tag": name, "value": value} for name, value in sorted(trigger.tags)]
    return entry


def keys_in(trigger: Trigger, template: Template) -> set[str]:
    """Keys of the items that an alert's expression rests on."""
    where = re.escape(f"/{template.name}/")
    return {
        item.key
        for item in template.items
        if re.search(where + re.escape(item.key) + r"[,)]", trigger.expression)
    }
