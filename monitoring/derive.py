"""Estate and service declarations → what Zabbix should hold. Pure: secrets come in as a function."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from infra.estate.addresses import host_addresses
from infra.inventory import line_sources
from infra.services.catalogue import services_of
from infra.services.monitoring import ZABBIX_AGENT, ZABBIX_PROXY
from monitoring.catalogue import alert_files, template_files, with_keys
from monitoring.model import (
    GROUP_PREFIX,
    MARK,
    Desired,
    Explanation,
    Host,
    Item,
    Key,
    Proxy,
    Step,
    Template,
    Trigger,
)
from monitoring.silence import judged_awake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.estate.model import Estate
    from infra.estate.model import Host as EstateHost
    from monitoring.catalogue import AlertFile, TemplateFile

    HostSecrets = Callable[[EstateHost], Mapping[str, str]]


def desired(estate: Estate, secrets_of: HostSecrets) -> Desired:
    """Everything that `apply` makes true. `secrets_of`: a host's own secrets by name."""
    hosts = tuple(host_of(estate, h, secrets_of(h)) for h in estate.hosts if templates_of(estate, h))
    return Desired(
        groups=tuple(sorted({group for host in hosts for group in host.groups})),
        templates=tuple(template_of(t) for t in template_files()),
        proxies=tuple(proxy_of(estate, h, secrets_of(h)) for h in proxy_hosts(estate)),
        hosts=hosts,
        triggers=tuple(estate_trigger(a, hosts) for a in alert_files() if a.over and _over(a, hosts)),
        explanations=explanations(hosts),
    )


def proxy_hosts(estate: Estate) -> list[EstateHost]:
    """Hosts that run a proxy."""
    return [h for h in estate.hosts if ZABBIX_PROXY.name in {s.name for s in services_of(h)}]


def templates_of(estate: Estate, host: EstateHost) -> tuple[str, ...]:
    """Names of the templates a host is linked to, by what it runs and has."""
    traits = {s.name for s in services_of(host)}
    if ZABBIX_AGENT.name in traits:
        traits |= {"data-disk"} if host.disks else set()
        traits |= {"system-disk"} if estate.provider != "lab" else set()
    if "zabbix-server" in traits and proxy_hosts(estate):
        traits |= {"zabbix-server-with-proxy"}
    return tuple(t.name for t in template_files() if t.of in traits)


def host_of(estate: Estate, host: EstateHost, secrets: Mapping[str, str]) -> Host:
    """One host as Zabbix should know it."""
    site = host.site or estate.region.name
    key = secrets.get("zabbix-agent-psk")
    macros = {"{$YIYUN.DOMAIN}": estate.domain}
    if "yiyun monitoring proxy" in templates_of(estate, host):
        macros["{$YIYUN.PROXY}"] = proxy_hosts(estate)[0].name
    if host.disks:
        macros["{$YIYUN.DATA}"] = host.disks[0].mount
    return Host(
        name=host.name,
        address=str(host_addresses(estate)[host.name]),
        groups=(
            GROUP_PREFIX,
            f"{GROUP_PREFIX}/site/{site}",
            *(f"{GROUP_PREFIX}/role/{role}" for role in host.roles),
        ),
        templates=templates_of(estate, host),
        tags=(MARK, ("estate", estate.estate), ("site", site), *(("role", role) for role in host.roles)),
        macros=tuple(sorted(macros.items())),
        proxy=proxy_for(estate, host),
        key=psk(f"agent-{host.name}", key) if key else None,
    )


def proxy_for(estate: Estate, host: EstateHost) -> str:
    """Name of the proxy at a host's site, empty for what the server watches itself."""
    if host.site is None:
        return ""
    return next((h.name for h in proxy_hosts(estate) if h.site == host.site), "")


def proxy_of(estate: Estate, host: EstateHost, secrets: Mapping[str, str]) -> Proxy:
    """One proxy as Zabbix should know it; it comes over the line."""
    key = psk(f"proxy-{host.name}", secrets["zabbix-proxy-psk"])
    return Proxy(host.name, key, tuple(line_sources(estate)))


def psk(identity: str, value: str) -> Key:
    """A key with its mark: a hash under the key itself, which tells nothing of it and changes with it."""
    mark = hmac.new(value.encode(), identity.encode(), hashlib.sha256).hexdigest()[:16]
    return Key(identity, value, mark)


def template_of(file: TemplateFile) -> Template:
    """A template with its alerts."""
    items = tuple(
        Item(
            **item.model_dump(exclude={"id", "steps", "formula"}),
            formula=with_keys(item.formula),
            steps=tuple(Step(s.type, s.of, s.otherwise) for s in item.steps),
        )
        for item in file.items
    )
    alerts = tuple(template_trigger(a, file.name) for a in alert_files() if a.template == file.name)
    return Template(file.name, items, alerts, tuple(sorted(file.macros.items())))


def template_trigger(alert: AlertFile, template: str) -> Trigger:
    """An alert of a template. Only alerts of the same template explain it there; others do on the hosts."""
    expression = with_keys(judged_awake(alert.when.replace("/T/", f"/{template}/")))
    after = tuple((template, a.title) for a in _named(alert.after) if a.template == template)
    return _trigger(alert, expression, after)


def estate_trigger(alert: AlertFile, hosts: tuple[Host, ...]) -> Trigger:
    """An alert over all hosts of a service."""
    written = [alert.every.replace("/HOST/", f"/{h.name}/") for h in _over(alert, hosts)]
    parts = [with_keys(judged_awake(text)) for text in written]
    return _trigger(alert, " and ".join(parts), ())


def explanations(hosts: tuple[Host, ...]) -> tuple[Explanation, ...]:
    """Which alert of which host explains which other one, beyond those inside one template.

    The cause is that of the same host where it has one, else where it stands.
    """
    found: dict[Explanation, None] = {}
    for alert in alert_files():
        for at in _places(alert, hosts):
            proxied = next(h for h in hosts if h.name == at).proxy != ""
            for cause in _named((*alert.after, *(alert.after_if_proxied if proxied else ()))):
                if alert.template and cause.template == alert.template:
                    continue
                places = _places(cause, hosts)
                for by in [at] if at in places and not cause.over else places[:1]:
                    found[Explanation((at, alert.title), (by, cause.title))] = None
    return tuple(found)


def _places(alert: AlertFile, hosts: tuple[Host, ...]) -> list[str]:
    if alert.over:
        return [h.name for h in _over(alert, hosts)][:1]
    return [h.name for h in hosts if alert.template in h.templates]


def _over(alert: AlertFile, hosts: tuple[Host, ...]) -> list[Host]:
    template = next(t.name for t in template_files() if t.of == alert.over)
    return [h for h in hosts if template in h.templates]


def _named(ids: tuple[str, ...]) -> list[AlertFile]:
    return [a for a in alert_files() if a.id in ids]


def _trigger(alert: AlertFile, expression: str, after: tuple[tuple[str, str], ...]) -> Trigger:
    page = f"runbooks/procedures/{alert.runbook}.md"
    tags = (
        MARK,
        ("alert", alert.id),
        ("notify", alert.notify),
        ("runbook", alert.runbook),
        ("service", alert.service),
    )
    return Trigger(alert.id, alert.title, expression, alert.severity, tags, f"处置手册：{page}", after)
