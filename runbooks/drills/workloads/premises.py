"""The workloads that come from the premises: begun where the senders stand, read once all has arrived."""

from __future__ import annotations

import json
import secrets
import time
import tomllib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.drivers.lab.hosts import run_in_host
from infra.drivers.lab.names import qualified
from infra.errors import BadInputError, YiyunError
from infra.estate.addresses import host_addresses
from infra.services.platform import COLLECTOR
from runbooks.drills.evidence.members import asked, held_by
from runbooks.drills.workloads import guests, hospital, line
from runbooks.drills.workloads.launch import LIMIT_SECONDS, root_of, started
from runbooks.drills.workloads.results import MRN_SYSTEM, SENDER, held_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.evidence.history import Held
    from runbooks.drills.model import Workload
    from runbooks.drills.workloads.launch import Running

GATEWAY_SETTINGS = "/etc/yiyun-gateway/gateway.toml"
STATUS = (
    *("runuser", "-u", "yiyun-gateway", "--"),
    *("/opt/yiyun-gateway/current/venv/bin/yiyun-gateway", "status", "--json"),
)
DELIVERED_SECONDS = 90
"""How long the collector may need for what it has: after a loss of its host or its line it is behind."""
LOOK_SECONDS = 0.5


class Uplink(BaseModel):
    """The part of the collector's settings that a workload needs; what they leave out is its default."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    urls: list[str]
    ca: str
    cert: str
    key: str
    connect_timeout_s: float = 1.0
    answer_timeout_s: float = 5.0
    backoff_cap_s: float = 2.0


def uplink_of(text: str) -> tuple[str, Uplink]:
    """Site and uplink of a collector's settings file. Raises BadInputError when it has none. Pure."""
    try:
        found = tomllib.loads(text)
        return str(found["site"]), Uplink.model_validate(found["uplink"])
    except (tomllib.TOMLDecodeError, KeyError, ValidationError) as error:
        raise BadInputError(
            f"{GATEWAY_SETTINGS} names no uplink: {error}", hint="yiyun up --only premises"
        ) from None


def doors_of(urls: Sequence[str], addresses: Mapping[str, str]) -> list[line.Door]:
    """The doors that urls name, in their order. `addresses`: by host name. Raises BadInputError. Pure."""
    doors: list[line.Door] = []
    for url in urls:
        parts = urlsplit(url)
        name = parts.hostname or ""
        if name not in addresses:
            raise BadInputError(f"the collector's host has no address for {name or url}", hint="yiyun drift")
        doors.append(line.Door(address=addresses[name], port=parts.port or 443, name=name))
    return doors


def start_line(estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int) -> Running:
    """Begin the line's workload in the network of the front-end machine, with its collector's own settings.

    Certificate and key are the collector's own files, read where they lie. Raises YiyunError; BadInputError
    for an estate without a front-end machine.
    """
    edge = _first(estate, "edge", "front-end machine")
    site, uplink = uplink_of(_said(paths, edge, ["cat", GATEWAY_SETTINGS]))
    names = [urlsplit(url).hostname or "" for url in uplink.urls]
    doors = doors_of(uplink.urls, _looked_up(paths, edge, names))
    root = root_of(paths, edge)
    settings = line.Settings(
        doors=doors,
        ca=f"{root}{uplink.ca}",
        certificate=f"{root}{uplink.cert}",
        key=f"{root}{uplink.key}",
        connect_timeout=uplink.connect_timeout_s,
        answer_timeout=uplink.answer_timeout_s,
        backoff_cap=uplink.backoff_cap_s,
        site=site,
        residents=list(guests.admit_patients(estate, paths, workload.clients, MRN_SYSTEM)),
        run=secrets.token_hex(4),
        clients=workload.clients,
        rate=workload.rate,
        seconds=LIMIT_SECONDS,
        seed=seed,
    )
    return started(qualified(paths.estate, edge), line.__name__, settings, history)


def start_hospital(
    estate: Estate, paths: EstatePaths, workload: Workload, history: Path, seed: int
) -> Running:
    """Begin the hospital's workload in the network of its host.

    Raises YiyunError; BadInputError for an estate without a hospital's host or a front-end machine.
    """
    sender, edge = _first(estate, "hospital", "hospital's host"), _first(estate, "edge", "front-end machine")
    wait_delivered(estate, paths, DELIVERED_SECONDS)
    settings = hospital.Settings(
        address=str(host_addresses(estate)[edge]),
        port=COLLECTOR.port("mllp").number,
        residents=list(guests.admit_patients(estate, paths, workload.clients, MRN_SYSTEM)),
        run=secrets.token_hex(4),
        clients=workload.clients,
        rate=workload.rate,
        seconds=LIMIT_SECONDS,
        seed=seed,
    )
    return started(qualified(paths.estate, sender), hospital.__name__, settings, history)


def held(estate: Estate, paths: EstatePaths) -> list[Held]:
    """What every database member holds of the drill's results. Raises YiyunError."""
    return held_by(
        paths,
        [h.name for h in estate.hosts_with("db")],
        lambda where, member: held_at(member, lambda statement: asked(where, member, statement)),
    )


def held_once_delivered(estate: Estate, paths: EstatePaths) -> list[Held]:
    """The same, when the collector has delivered all that it acknowledged. Raises YiyunError."""
    wait_delivered(estate, paths, DELIVERED_SECONDS)
    return held(estate, paths)


def leave_once_delivered(estate: Estate, paths: EstatePaths) -> None:
    """Remove the residents and what they have, when nothing for them can come any more. Raises YiyunError."""
    wait_delivered(estate, paths, DELIVERED_SECONDS)
    guests.leave(estate, paths)


def wait_delivered(estate: Estate, paths: EstatePaths, seconds: float) -> None:
    """Wait until no collector has a message of the drill waiting. Raises YiyunError when the time is over."""
    deadline = time.monotonic() + seconds
    for host in (h.name for h in estate.hosts_with("edge")):
        while said := _why_not_delivered(paths, host):
            if time.monotonic() > deadline:
                raise YiyunError(
                    f"after {seconds:.0f} s: {said}", hint="yiyun status; then yiyun drill resume"
                )
            time.sleep(LOOK_SECONDS)


def waiting(status: Mapping[str, Mapping[str, Mapping[str, int]]]) -> int:
    """How many of the drill's messages a collector has not delivered, by its own status. Parked ones are not
    waiting: nobody will deliver them, and they are missing at the members. Pure.
    """
    counts = status["senders"].get(SENDER, {})
    return counts.get("received", 0) + counts.get("parsed", 0)


def _why_not_delivered(paths: EstatePaths, host: str) -> str:
    try:
        left = waiting(json.loads(_said(paths, host, STATUS)))
    except (YiyunError, ValueError, KeyError) as error:
        return f"the collector of {host} does not say what it has: {error}"
    return f"the collector of {host} has {left} messages of the drill waiting" if left else ""


def _looked_up(paths: EstatePaths, host: str, names: Sequence[str]) -> dict[str, str]:
    """Name → address, as the host itself knows them."""
    lines = [line.split() for line in _said(paths, host, ["getent", "hosts", *names]).splitlines()]
    return {name: address for address, *known in lines for name in known}


def _first(estate: Estate, role: str, what: str) -> str:
    hosts = estate.hosts_with(role)
    if not hosts:
        raise BadInputError(f"{estate.estate} has no {what}", hint="a drill of the database needs none")
    return hosts[0].name


def _said(paths: EstatePaths, host: str, argv: Sequence[str]) -> str:
    done = run_in_host(paths, host, argv)
    if done.returncode != 0:
        raise YiyunError(f"{host}: {done.stderr.strip()[-200:]}", hint="yiyun status")
    return done.stdout
