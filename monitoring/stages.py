"""Stages of a sync, in the order Zabbix wants. Each reads what is there and plans what differs; none writes.

What is not marked as ours is never touched: tags mark hosts and templates, a name's first part marks groups,
the description marks proxies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitoring.model import GROUP_PREFIX, MARK
from monitoring.plan import Planned, planned
from monitoring.views import (
    KEY_TAG,
    PSK,
    UNENCRYPTED,
    actual_host,
    actual_proxy,
    declared_host,
    declared_proxy,
    differences,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitoring.api import Zabbix
    from monitoring.model import Desired, Host, Proxy

OURS = [{"tag": MARK[0], "value": MARK[1], "operator": 1}]
"""Filter by tag: equals."""
AGENT_PORT = "10050"
"""Zabbix wants a port in an interface; nobody listens there."""


def groups(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Host groups that are missing."""
    have = _groups(zabbix)
    return [
        planned("HostGroup", name, "create", ("hostgroup.create", {"name": name}))
        for name in wanted.groups
        if name not in have
    ]


def proxies(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Proxies that are missing or differ."""
    have = {p["name"]: p for p in _proxies(zabbix)}
    plan: list[Planned] = []
    for proxy in wanted.proxies:
        declared, found = declared_proxy(proxy), have.get(proxy.name)
        if found is None:
            call = ("proxy.create", proxy_parameters(proxy))
            plan.append(planned("Proxy", proxy.name, "create", call))
        elif differing := differences(declared, actual_proxy(found)):
            call = ("proxy.update", {"proxyid": found["proxyid"], **proxy_parameters(proxy)})
            plan.append(planned("Proxy", proxy.name, "update", call, differing))
    return plan


def hosts(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """Hosts that are missing or differ."""
    names = {p["proxyid"]: p["name"] for p in _proxies(zabbix)}
    ids = Identifiers(_groups(zabbix), _templates(zabbix), {name: i for i, name in names.items()})
    have = {h["host"]: h for h in _hosts(zabbix, [h.name for h in wanted.hosts])}
    plan: list[Planned] = []
    for host in wanted.hosts:
        found = have.get(host.name)
        if found is None:
            plan.append(planned("Host", host.name, "create", ("host.create", host_parameters(host, ids))))
            continue
        differing = differences(declared_host(host), actual_host(found, names))
        if differing:
            changed = {d.name for d in differing}
            parameters = {"hostid": found["hostid"], **host_update(host, ids, found, changed)}
            plan.append(planned("Host", host.name, "update", ("host.update", parameters), differing))
    return plan


def strays(zabbix: Zabbix, wanted: Desired) -> list[Planned]:
    """What carries our mark and is declared no more: hosts, then templates, proxies and groups."""
    host_names, template_names = {h.name for h in wanted.hosts}, {t.name for t in wanted.templates}
    ours = zabbix.call("host.get", {"output": ["hostid", "host"], "tags": OURS})
    plan = [
        planned("Host", h["host"], "delete", ("host.delete", h["hostid"]))
        for h in ours
        if h["host"] not in host_names
    ]
    templates = zabbix.call("template.get", {"output": ["templateid", "host"], "tags": OURS})
    plan += [
        planned("Template", t["host"], "delete", ("template.delete", t["templateid"]))
        for t in templates
        if t["host"] not in template_names
    ]
    plan += [
        planned("Proxy", p["name"], "delete", ("proxy.delete", p["proxyid"]))
        for p in _proxies(zabbix)
        if p["description"].startswith("managed by yiyun")
        and p["name"] not in {x.name for x in wanted.proxies}
    ]
    plan += [
        planned("HostGroup", name, "delete", ("hostgroup.delete", identifier))
        for name, identifier in _groups(zabbix).items()
        if name.startswith(f"{GROUP_PREFIX}/") and name not in wanted.groups
    ]
    return plan


class Identifiers:
    """Name → id of what a host refers to. What is not there yet has none; then nothing is written either."""

    def __init__(
        self, groups: Mapping[str, str], templates: Mapping[str, str], proxies: Mapping[str, str]
    ) -> None:
        self.groups, self.templates, self.proxies = groups, templates, proxies


def proxy_parameters(proxy: Proxy) -> dict[str, Any]:
    """What `proxy.create` and `proxy.update` are given."""
    return {
        "name": proxy.name,
        "operating_mode": "0",
        "description": declared_proxy(proxy)["description"],
        "allowed_addresses": ",".join(proxy.allowed),
        "tls_accept": PSK,
        "tls_psk_identity": proxy.key.identity,
        "tls_psk": proxy.key.value,
    }


def host_parameters(host: Host, ids: Identifiers) -> dict[str, Any]:
    """What `host.create` is given."""
    interface = {"type": 1, "main": 1, "useip": 1, "ip": host.address, "dns": "", "port": AGENT_PORT}
    return {
        "host": host.name,
        "interfaces": [interface],
        "status": "0",
        **_references(host, ids),
        **_encryption(host),
    }


def host_update(host: Host, ids: Identifiers, found: Mapping[str, Any], changed: set[str]) -> dict[str, Any]:
    """What `host.update` is given: all that is cheap, the key only when it or the encryption differs."""
    parameters: dict[str, Any] = {"status": "0", **_references(host, ids)}
    wanted_tag = f"{KEY_TAG}={host.key.mark}" if host.key else ""
    tags = {f"{t['tag']}={t['value']}" for t in found["tags"]}
    if "encryption" in changed or (wanted_tag and wanted_tag not in tags):
        parameters |= _encryption(host)
    if "templates" in changed:
        gone = [t for t in found["parentTemplates"] if t["host"] not in host.templates]
        parameters["templates_clear"] = [{"templateid": t["templateid"]} for t in gone]
    if "address" in changed and found["interfaces"]:
        kept = {"interfaceid": found["interfaces"][0]["interfaceid"], "type": 1, "main": 1, "useip": 1}
        parameters["interfaces"] = [{**kept, "ip": host.address, "dns": "", "port": AGENT_PORT}]
    return parameters


def _references(host: Host, ids: Identifiers) -> dict[str, Any]:
    tags = [*host.tags, *(((KEY_TAG, host.key.mark),) if host.key else ())]
    return {
        "groups": [{"groupid": ids.groups.get(name, "")} for name in host.groups],
        "templates": [{"templateid": ids.templates.get(name, "")} for name in host.templates],
        "tags": [{"tag": name, "value": value} for name, value in tags],
        "macros": [{"macro": name, "value": value} for name, value in host.macros],
        "monitored_by": 1 if host.proxy else 0,
        **({"proxyid": ids.proxies.get(host.proxy, "")} if host.proxy else {}),
    }


def _encryption(host: Host) -> dict[str, Any]:
    if host.key is None:
        return {"tls_connect": UNENCRYPTED, "tls_accept": UNENCRYPTED}
    return {
        "tls_connect": PSK,
        "tls_accept": PSK,
        "tls_psk_identity": host.key.identity,
        "tls_psk": host.key.value,
    }


def _groups(zabbix: Zabbix) -> dict[str, str]:
    found = zabbix.call("hostgroup.get", {"output": ["groupid", "name"]})
    return {g["name"]: g["groupid"] for g in found}


def _templates(zabbix: Zabbix) -> dict[str, str]:
    found = zabbix.call("template.get", {"output": ["templateid", "host"], "tags": OURS})
    return {t["host"]: t["templateid"] for t in found}


def _proxies(zabbix: Zabbix) -> list[dict[str, Any]]:
    fields = ["proxyid", "name", "description", "allowed_addresses", "tls_accept", "operating_mode"]
    return zabbix.call("proxy.get", {"output": fields})


def _hosts(zabbix: Zabbix, names: list[str]) -> list[dict[str, Any]]:
    wanted = {
        "output": ["hostid", "host", "status", "proxyid", "tls_accept", "tls_connect"],
        "filter": {"host": names},
        "selectHostGroups": ["name"],
        "selectParentTemplates": ["templateid", "host"],
        "selectTags": ["tag", "value"],
        "selectMacros": ["macro", "value"],
        "selectInterfaces": ["interfaceid", "ip"],
    }
    return zabbix.call("host.get", wanted)
