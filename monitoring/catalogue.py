"""The templates and alerts as their files write them. Ports come from the services' declarations."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from infra.errors import BadInputError
from infra.services.catalogue import SERVICES
from monitoring.model import Notify, Severity  # noqa: TC001  pydantic reads them at run time

PORT = re.compile(r"%\{(?P<service>[a-z-]+)\.(?P<port>[a-z]+)\}")
ITEM = re.compile(r"@(?P<id>[a-z-]+)")


class Part(BaseModel):
    """A part of a file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StepFile(Part):
    """A preprocessing step; `otherwise` is the value when it fails, or `discard`."""

    type: str
    of: tuple[str, ...] = ()
    otherwise: str | None = None


class ItemFile(Part):
    """An item; `id` names it for the alerts."""

    key: str
    name: str
    id: str = ""
    type: str = "active"
    kind: str = "unsigned"
    delay: str = "1m"
    history: str = "14d"
    trends: str = "365d"
    units: str = ""
    timeout: str = ""
    master: str = ""
    formula: str = ""
    steps: tuple[StepFile, ...] = ()


class TemplateFile(Part):
    """A template; `for` says which hosts it is for (`monitoring.derive.templates_of`)."""

    name: str
    of: str = Field(alias="for")
    items: tuple[ItemFile, ...]
    macros: dict[str, str] = Field(default_factory=dict[str, str])


class AlertFile(Part):
    """An alert: of a `template` by `when`, or of a service's hosts together (`over`) by `every`."""

    id: str
    title: str
    severity: Severity
    notify: Notify
    service: str
    runbook: str
    template: str = ""
    when: str = ""
    over: str = ""
    every: str = ""
    after: tuple[str, ...] = ()
    after_if_proxied: tuple[str, ...] = ()


def ports() -> dict[str, int]:
    """Every declared port as `service.port`."""
    return {f"{s.name}.{p.name}": p.number for s in SERVICES for p in s.listens}


def with_ports(text: str) -> str:
    """Replace `%{service.port}` by its number. Raises BadInputError for an undeclared port."""
    known = ports()

    def number(match: re.Match[str]) -> str:
        name = f"{match['service']}.{match['port']}"
        if name not in known:
            raise BadInputError(f"no port {name}", hint="name a service and one of its declared ports")
        return str(known[name])

    return PORT.sub(number, text)


@cache
def template_files() -> tuple[TemplateFile, ...]:
    """Every template of monitoring/templates/, in a stable order."""
    folder = resources.files("monitoring").joinpath("templates")
    found: list[TemplateFile] = []
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.endswith(".yaml"):
            documents = YAML(typ="safe").load_all(with_ports(path.read_text(encoding="utf-8")))
            found += [_valid(TemplateFile, document, path.name) for document in documents]
    return tuple(found)


@cache
def alert_files() -> tuple[AlertFile, ...]:
    """Every alert of monitoring/alerts.yaml."""
    text = resources.files("monitoring").joinpath("alerts.yaml").read_text(encoding="utf-8")
    return tuple(_valid(AlertFile, entry, "alerts.yaml") for entry in YAML(typ="safe").load(with_ports(text)))


def item_keys() -> dict[str, str]:
    """Item id → key, over all templates."""
    return {item.id: item.key for template in template_files() for item in template.items if item.id}


def with_keys(expression: str) -> str:
    """Replace `@id` by the item's key. Raises BadInputError for an unknown id."""
    keys = item_keys()

    def key(match: re.Match[str]) -> str:
        if match["id"] not in keys:
            raise BadInputError(f"no item {match['id']}", hint=f"one of {', '.join(sorted(keys))}")
        return keys[match["id"]]

    return ITEM.sub(key, expression)


def _valid(kind: Any, document: Any, name: str) -> Any:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise BadInputError(f"monitoring/{name}: {error}", hint="correct the file", where=name) from error
