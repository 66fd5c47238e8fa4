"""The same thing seen twice, as declared and as Zabbix returns it, in one shape that can be compared. Pure.

Zabbix returns scalars as strings, sets as lists in any order, and its own identifiers; here are names and
sorted lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.provider.differences import PropertyChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitoring.model import Host, Proxy, Trigger

View = dict[str, Any]
KEY_TAG = "psk"
"""Host tag that holds the mark of the host's key, as Zabbix never returns the key."""
PSK, UNENCRYPTED = "2", "1"
SEVERITIES = {"information": "1", "warning": "2", "average": "3", "high": "4", "disaster": "5"}


def pairs(entries: Iterable[Mapping[str, Any]], name: str = "tag") -> list[str]:
    """Tags or macros as sorted `name=value`."""
    return sorted(f"{e[name]}={e['value']}" for e in entries)


def declared_host(host: Host) -> View:
    """A host as declared."""
    tags = [*host.tags, *(((KEY_TAG, host.key.mark),) if host.key else ())]
    return {
        "address": host.address,
        "enabled": True,
        "groups": sorted(host.groups),
        "templates": sorted(host.templates),
        "tags": sorted(f"{name}={value}" for name, value in tags),
        "macros": sorted(f"{name}={value}" for name, value in host.macros),
        "proxy": host.proxy,
        "encryption": PSK if host.key else UNENCRYPTED,
    }


def actual_host(found: Mapping[str, Any], proxies: Mapping[str, str]) -> View:
    """A host as `host.get` returns it. `proxies`: name by id."""
    interfaces = found["interfaces"]
    accepts, connects = str(found["tls_accept"]), str(found["tls_connect"])
    return {
        "address": interfaces[0]["ip"] if interfaces else "",
        "enabled": str(found["status"]) == "0",
        "groups": sorted(g["name"] for g in found["hostgroups"]),
        "templates": sorted(t["host"] for t in found["parentTemplates"]),
        "tags": pairs(found["tags"]),
        "macros": pairs(found["macros"], "macro"),
        "proxy": proxies.get(str(found["proxyid"]), ""),
        "encryption": accepts if accepts == connects else f"{connects}/{accepts}",
    }


def declared_proxy(proxy: Proxy) -> View:
    """A proxy as declared. Proxies have no tags: the description marks them."""
    return {
        "description": f"managed by yiyun; psk {proxy.key.mark}",
        "addresses": sorted(proxy.allowed),
        "encryption": PSK,
        "mode": "0",
    }


def actual_proxy(found: Mapping[str, Any]) -> View:
    """A proxy as `proxy.get` returns it."""
    return {
        "description": found["description"],
        "addresses": sorted(a.strip() for a in found["allowed_addresses"].split(",") if a.strip()),
        "encryption": str(found["tls_accept"]),
        "mode": str(found["operating_mode"]),
    }


def declared_trigger(trigger: Trigger) -> View:
    """An alert as declared, wherever it stands; the template decides its expression there."""
    return {
        "expression": trigger.expression,
        "severity": SEVERITIES[trigger.severity],
        "tags": sorted(f"{name}={value}" for name, value in trigger.tags),
        "comments": trigger.comments,
        "enabled": True,
    }


def actual_trigger(found: Mapping[str, Any]) -> View:
    """An alert as `trigger.get` with `expandExpression` returns it."""
    return {
        "expression": found["expression"],
        "severity": str(found["priority"]),
        "tags": pairs(found["tags"]),
        "comments": found["comments"],
        "enabled": str(found["status"]) == "0",
    }


def differences(declared: View, actual: View) -> tuple[PropertyChange, ...]:
    """Properties that differ, in the declared order."""
    return tuple(
        PropertyChange(name, value, actual.get(name))
        for name, value in declared.items()
        if actual.get(name) != value
    )
