"""Hosts and their facts for the suites: gathered once a session, all hosts at the same time."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import testinfra

from infra.estate.model import Estate
from infra.services.catalogue import services_of
from infra.verify.suites.machine import Machine, gather_command, question_for

if TYPE_CHECKING:
    from infra.estate.model import Host

SETTINGS = "YIYUN_SUITES"
"""Environment variable: path of a JSON file with `estate` (the whole model) and `ssh_config`."""


@dataclass(frozen=True)
class Settings:
    """What the runner told us."""

    estate: Estate
    ssh_config: str


@cache
def settings() -> Settings:
    """Read what the runner told us."""
    data = json.loads(Path(os.environ[SETTINGS]).read_text(encoding="utf-8"))
    return Settings(Estate.model_validate(data["estate"]), str(data["ssh_config"]))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each check on every host of its service."""
    if "name" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("service")
    service = str(marker.args[0]) if marker else ""
    hosts = [h.name for h in settings().estate.hosts if service in {s.name for s in services_of(h)}]
    metafunc.parametrize("name", hosts, scope="session")


@pytest.fixture(scope="session")
def machines() -> dict[str, Machine | str]:
    """Every host with its facts; a sentence in the place of a host that gave none."""
    estate = settings().estate
    bastions = [h for h in estate.hosts if {"ops", "edge"} & set(h.roles)]
    found: dict[str, Machine | str] = {}
    with ThreadPoolExecutor(8) as pool:
        for group in (bastions, [h for h in estate.hosts if h not in bastions]):
            found |= dict(zip([h.name for h in group], pool.map(_machine, group), strict=True))
    return found


def _machine(host: Host) -> Machine | str:
    estate = settings().estate
    url = f"ssh://{host.name}?ssh_config={settings().ssh_config}&controlpersist=0&timeout=15"
    shell: Any = testinfra.get_host(url)
    try:
        answer = shell.run(gather_command(question_for(estate, host)))
    except RuntimeError as error:
        return f"no answer by SSH: {str(error)[-300:]}"
    if answer.rc != 0:
        return f"facts could not be gathered: {answer.stderr.strip()[-300:]}"
    return Machine(estate, host, json.loads(answer.stdout), shell)


@pytest.fixture
def on(machines: dict[str, Machine | str], name: str) -> Machine:
    """The host of this check."""
    machine = machines[name]
    if isinstance(machine, str):
        pytest.fail(f"{name}: {machine}", pytrace=False)
    return machine


@pytest.fixture
def everyone(machines: dict[str, Machine | str]) -> dict[str, Machine]:
    """All hosts that gave facts, for checks that look at several."""
    return {name: m for name, m in machines.items() if isinstance(m, Machine)}
