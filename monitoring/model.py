"""What Zabbix should hold, as data: templates with alerts, hosts, proxies, estate-wide alerts. No effects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["information", "warning", "average", "high", "disaster"]
Notify = Literal["page", "ticket"]

MARK = ("managed", "yiyun")
"""Tag of everything that is ours where Zabbix has tags; only what carries it is ever removed."""
DISCARD = "discard"
"""Instead of a value: what fails the step leaves no trace."""
GROUP_PREFIX = "yiyun"
"""First part of the names of our groups, which have no tags."""


@dataclass(frozen=True)
class Step:
    """One preprocessing step. `otherwise`: the value when it fails (DISCARD: none); None lets it fail."""

    type: str
    of: tuple[str, ...] = ()
    otherwise: str | None = None


@dataclass(frozen=True)
class Item:
    """One measured value of a template."""

    key: str
    name: str
    type: str = "active"
    kind: str = "unsigned"
    delay: str = "1m"
    history: str = "14d"
    trends: str = "365d"
    units: str = ""
    timeout: str = ""
    master: str = ""
    formula: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Trigger:
    """One alert where it stands: on a template or on the estate. Its name is unique there."""

    alert: str
    title: str
    expression: str
    severity: Severity
    tags: tuple[tuple[str, str], ...]
    comments: str
    after: tuple[tuple[str, str], ...] = ()
    """Alerts that explain this one: (template or host, title)."""


@dataclass(frozen=True)
class Template:
    """A template: its items, its alerts, its default macros."""

    name: str
    items: tuple[Item, ...]
    triggers: tuple[Trigger, ...] = ()
    macros: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Key:
    """A pre-shared key under its identity. `mark`, a hash, may be shown: Zabbix never returns the key."""

    identity: str
    value: str = field(repr=False)
    mark: str = ""


@dataclass(frozen=True)
class Host:
    """One monitored host. `proxy`: the proxy that watches it, empty: the server itself."""

    name: str
    address: str
    groups: tuple[str, ...]
    templates: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    macros: tuple[tuple[str, str], ...] = ()
    proxy: str = ""
    key: Key | None = None


@dataclass(frozen=True)
class Proxy:
    """One proxy, which begins the conversation itself."""

    name: str
    key: Key
    allowed: tuple[str, ...] = ()
    """Addresses it may come from."""


@dataclass(frozen=True)
class Explanation:
    """An alert of one host explained by an alert of another: (host, title) after (host, title)."""

    of: tuple[str, str]
    by: tuple[str, str]


@dataclass(frozen=True)
class Desired:
    """All of it."""

    groups: tuple[str, ...]
    templates: tuple[Template, ...]
    proxies: tuple[Proxy, ...]
    hosts: tuple[Host, ...]
    triggers: tuple[Trigger, ...]
    """Estate-wide alerts, over several hosts."""
    explanations: tuple[Explanation, ...] = ()
