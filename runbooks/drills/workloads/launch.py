"""The workload as a process of its own: in an app host's network, or in that of a client outside."""

from __future__ import annotations

import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import containers, run_in_host
from infra.drivers.lab.names import INTERNET, qualified
from infra.errors import BadInputError, YiyunError
from infra.estate.addresses import elastic_addresses, elastic_name_of_balancer
from infra.services.data import MYSQL
from infra.trust.material import Material
from runbooks.drills.evidence.members import SCHEMA
from runbooks.drills.workloads import database, guests, platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.model import Workload

ACCOUNT, PASSWORD = "yiyun_drill", "mysql-drill"
PLATFORM_SETTINGS = "/etc/yiyun-app/app.env"
READY_SECONDS = 20
LIMIT_SECONDS = 3600.0
"""A workload ends by itself after that, whatever became of its controller."""


@dataclass
class Running:
    """A workload that goes on."""

    processes: list[subprocess.Popen[str]]
    history: Path

    def trouble(self) -> str:
        """Why it ended by itself; empty while it runs."""
        codes = [code for process in self.processes if (code := process.poll()) is not None]
        return f"the workload ended by itself ({codes[0]})" if codes else ""

    def end(self) -> None:
        """Let it end in order; what it has noted is on the disk then."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(READY_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def platform_settings(paths: EstatePaths, host: str) -> dict[str, str]:
    """The platform's settings on a host, as deployed: name without its prefix → value."""
    text = run_in_host(paths, host, ["cat", PLATFORM_SETTINGS]).stdout
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.removeprefix("YIYUN_APP_").lower(): value for name, value in pairs}


def gate_of(paths: EstatePaths, host: str, deployed: Mapping[str, str]) -> str:
    """The host's gate as a process outside the host sees it; empty where the platform has none.

    The workload shares the host's network only, so it goes through the host's first process to its files.
    """
    folder, root = deployed.get("database_gate_folder", ""), root_of(paths, host)
    return f"{root}{folder}" if folder and root else ""


def root_of(paths: EstatePaths, host: str) -> str:
    """A host's root folder as a process outside the host sees it; empty when it does not run."""
    found = containers(paths.estate).get(qualified(paths.estate, host))
    return f"/proc/{found.pid}/root" if found else ""


def start_database(
    estate: Estate, paths: EstatePaths, workload: Workload, client: str, history: Path, seed: int
) -> Running:
    """Begin the database workload at an app host, or spread over all of them.

    Returns when its tables stand and its clients run. Raises YiyunError.
    """
    others = [h.name for h in estate.hosts_with("app") if h.name != client] if workload.spread else []
    running = Running([], history)
    for place, (host, numbers) in enumerate(dealt([client, *others], workload.clients).items()):
        settings = _settings_at(estate, paths, workload, host, seed)
        settings = settings.model_copy(update={"numbers": numbers, "prepared": place > 0})
        try:
            running.processes += started(
                qualified(paths.estate, host), database.__name__, settings, history
            ).processes
        except YiyunError:
            running.end()
            raise
    return running


def dealt(hosts: Sequence[str], clients: int) -> dict[str, list[int]]:
    """Host → numbers of the clients that run there, one host after the other. Pure."""
    return {host: list(range(place, clients, len(hosts))) for place, host in enumerate(hosts)}


def start_part(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int, numbers: Sequence[int]
) -> Running:
    """The database workload at the first app host, with these of its clients alone.

    Who begins with client 0 makes the tables; the others find them. Raises YiyunError.
    """
    host = estate.hosts_with("app")[0].name
    part = {"numbers": list(numbers), "prepared": 0 not in numbers}
    settings = _settings_at(estate, paths, workload, host, seed).model_copy(update=part)
    return started(qualified(paths.estate, host), database.__name__, settings, history)


def _settings_at(
    estate: Estate, paths: EstatePaths, workload: Workload, client: str, seed: int
) -> database.Settings:
    material, deployed = Material(estate, paths), platform_settings(paths, client)
    return database.Settings(
        port=MYSQL.port("mysql").number,
        user=ACCOUNT,
        password=material.passwords()[PASSWORD],
        database=SCHEMA,
        authority=material.root().certificate,
        connect_timeout=float(deployed["database_connect_timeout"]),
        read_timeout=float(deployed["database_read_timeout"]),
        clients=workload.clients,
        rate=workload.rate,
        seconds=LIMIT_SECONDS,
        seed=seed,
        gate=gate_of(paths, client, deployed),
    )


def start_platform(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int
) -> Running:
    """Begin the platform workload in the lab's internet, as a client of the public door.

    Returns when it has signed in. Raises YiyunError; BadInputError for an estate without a load balancer.
    """
    if not estate.load_balancers:
        raise BadInputError(
            f"{estate.estate} has no load balancer", hint="a drill of the database needs none"
        )
    balancer, material = estate.load_balancers[0], Material(estate, paths)
    account = guests.admit(estate, paths, workload.clients)
    settings = platform.Settings(
        address=str(elastic_addresses(estate)[elastic_name_of_balancer(balancer.name)]),
        port=balancer.port,
        name=balancer.server_names[0],
        authority=material.root().certificate,
        username=guests.ACCOUNT,
        password=account.password,
        residents=list(account.residents),
        run=secrets.token_hex(8),
        clients=workload.clients,
        rate=workload.rate,
        seconds=LIMIT_SECONDS,
        seed=seed,
    )
    return started(qualified(paths.estate, INTERNET), platform.__name__, settings, history)


def started(namespace: str, module: str, settings: BaseModel, history: Path) -> Running:
    """The program in a network namespace; its settings go by standard input, as some hold a password.

    Raises YiyunError when it does not begin.
    """
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-m", module, str(history)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    told, heard = process.stdin, process.stdout
    if told is None or heard is None:
        raise YiyunError("the workload has no pipes")
    told.write(settings.model_dump_json())
    told.close()
    if heard.readline() != "ready\n":
        process.kill()
        said = process.stderr.read() if process.stderr else ""
        raise YiyunError(
            f"the workload could not begin: {said.strip().splitlines()[-1:]}", hint="yiyun status"
        )
    return Running([process], history)
