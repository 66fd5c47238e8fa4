"""One look at an estate: hosts, database, line, certificates, balancer. Facts are fetched in parallel."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from cryptography import x509

from infra.backup_status import backup_problems, backup_status
from infra.estate.addresses import host_addresses
from infra.reach import run_on
from infra.services.catalogue import SERVICES, services_of
from infra.services.data import MYSQL_HEALTH
from infra.services.storage import ATTACHMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.estate.model import Estate, Host
    from infra.paths import EstatePaths

    AskMonitoring = Callable[[Estate, EstatePaths], dict[str, Any]]
    """Asks the monitoring; it lives in a layer above this one."""

FACTS_SECONDS = 20
COPY_LATE_S = 600
"""A copy older than this is a problem: it is made every minute (role object_copy)."""
EXPIRY_WARNING_DAYS = 14
"""A leaf with less left than this is a problem: renewal happens at 30 days (authority.RENEW_DAYS)."""

PATIENCE_S = 120
"""An open problem of Zabbix younger than this is shown, and is not yet one of the estate: most pass by."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Status:
    """The estate as it is now, in the shape of the JSON contract."""

    fields: dict[str, Any]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def collect(
    estate: Estate,
    paths: EstatePaths,
    progress: Callable[[str], None],
    zabbix: AskMonitoring,
) -> Status:
    """Ask every host and Zabbix, then judge. `zabbix`: asks it, and lives in a layer above this one."""
    progress("asking every host")
    with ThreadPoolExecutor(len(estate.hosts) + 1) as pool:
        watched = pool.submit(zabbix, estate, paths)
        answers = pool.map(partial(_facts, paths), estate.hosts)
        facts = dict(zip([h.name for h in estate.hosts], answers, strict=True))
    return judge(estate, facts, datetime.now(UTC), watched.result())


def judge(estate: Estate, facts: dict[str, Facts], now: datetime, zabbix: dict[str, Any]) -> Status:
    """Facts by host, and what Zabbix says → status. Pure."""
    hosts = [
        {
            "name": h.name,
            "site": h.site or estate.region.name,
            "roles": list(h.roles),
            "up": bool(facts[h.name]),
        }
        for h in estate.hosts
    ]
    mysql, line = mysql_status(estate, facts), line_status(estate, facts)
    certificates = certificate_status(facts)
    fields: dict[str, Any] = {
        "hosts": hosts,
        "mysql": mysql,
        "line": line,
        "platform": platform_status(estate, facts),
        "collector": next((facts[h.name].get("collector") or {} for h in estate.hosts_with("edge")), {}),
        "oracle": {"state": "awaiting media"} if estate.hosts_with("ora") else {},
        "certificates": certificates,
        "object_storage": storage_status(estate, facts, now),
        "zabbix": {**zabbix, "watch": watch_status(estate, facts)},
        "backups": backup_status(estate, facts, now),
        "drills": [],
    }
    problems = [f"{h['name']} does not answer" for h in hosts if not h["up"]]
    problems += [f"{h}: unit {unit} has failed" for h in facts for unit in facts[h].get("failed_units", [])]
    if estate.hosts_with("db"):
        online = [m for m in mysql["members"] if m["state"] == "ONLINE"]
        if len(online) != len(estate.hosts_with("db")):
            problems.append(f"mysql: {len(online)} of {len(estate.hosts_with('db'))} members are ONLINE")
        if mysql["writer"] is None:
            problems.append("mysql: the routers do not agree on one writer")
    problems += [f"line: path over {p['name']} is down" for p in line["paths"] if not p["up"]]
    problems += [f"platform: {p['host']} is not ready" for p in fields["platform"] if not p["ready"]]
    problems += storage_problems(fields["object_storage"])
    silent = {name for name, said in facts.items() if not said}
    problems += backup_problems(estate, fields["backups"], silent)
    problems += zabbix_problems(fields["zabbix"], now)
    for certificate in certificates:
        left = (datetime.fromisoformat(certificate["not_after"]) - now).days
        if left < EXPIRY_WARNING_DAYS:
            problems.append(f"certificate {certificate['name']} ends in {left} days")
    return Status({**fields, "problems": problems}, tuple(problems))


def watch_status(estate: Estate, facts: dict[str, Facts]) -> dict[str, Any]:
    """What the premises' watcher says of the monitoring itself: state, since, reason; empty without one."""
    return next((facts[h.name].get("watch") or {} for h in estate.hosts_with("edge")), {})


def zabbix_problems(zabbix: dict[str, Any], now: datetime) -> list[str]:
    """What of the monitoring is a problem: silence, hosts nobody watches, what it has said for a while."""
    silent = zabbix["watch"].get("state") == "silent"
    found = ["monitoring: the premises hear nothing of it"] if silent else []
    if not zabbix["reachable"]:
        return [*found, "monitoring: Zabbix does not answer"]
    if zabbix["hosts_monitored"] < zabbix["hosts_expected"]:
        watched = f"{zabbix['hosts_monitored']} of {zabbix['hosts_expected']}"
        found.append(f"monitoring: {watched} hosts are watched")
    return found + [
        f"monitoring: {p['host']}: {p['name']}"
        for p in zabbix["problems"]
        if (now - datetime.fromisoformat(p["since"])).total_seconds() > PATIENCE_S
    ]


def mysql_status(estate: Estate, facts: dict[str, Facts]) -> dict[str, Any]:
    """Members by their own health agents and by the group's, the writer by the routers' agreement.

    No writer when they differ, or one has sessions open on another member that is up: two are written to.
    """
    addresses = host_addresses(estate)
    told = {h.name: facts[h.name].get("mysql") or {} for h in estate.hosts_with("db")}
    samples = {name: agent.get("sample") or {} for name, agent in told.items()}
    members = [
        {
            "name": name,
            "state": member_state(str(addresses[name]), sample, list(samples.values())),
            "may_write": told[name].get("ready", False),
        }
        for name, sample in samples.items()
    ]
    routers = [facts[h.name].get("db_writer") or {} for h in estate.hosts_with("app") if facts[h.name]]
    writers = {router.get("writer") for router in routers}
    agree = len(writers) == 1 and not any(router.get("stray") for router in routers)
    writer = writers.pop() if agree else None
    return {"writer": writer, "members": members}


def member_state(address: str, sample: Facts, samples: Sequence[Facts]) -> str:
    """A member's state as itself says, but ONLINE only where the group says so too. Pure.

    A member that was cut off and expelled calls itself ONLINE for up to 20 s after the link is back; those
    that see a majority know better. `OFFLINE`: they have no such member.
    """
    own = sample.get("state") or "UNREACHABLE"
    majority = len(samples) // 2 + 1
    views = [s.get("members") or {} for s in samples if s.get("state") == "ONLINE"]
    said = {v.get(address, "OFFLINE") for v in views if list(v.values()).count("ONLINE") >= majority}
    others = sorted(said - {"ONLINE"})
    return others[0] if own == "ONLINE" and others else own


def line_status(estate: Estate, facts: dict[str, Facts]) -> dict[str, Any]:
    """Paths as the premises' end sees them; it is the one that chooses."""
    if estate.line is None:
        return {"up": False, "path": None, "paths": []}
    seen = facts[estate.line.peer].get("line") or {}
    paths = {p["name"]: p for p in seen.get("paths", [])}
    entries = [
        {"name": g, "up": bool(paths.get(g, {}).get("up")), "rtt_ms": paths.get(g, {}).get("rtt_ms")}
        for g in estate.line.gateways
    ]
    return {"up": any(e["up"] for e in entries), "path": seen.get("path"), "paths": entries}


def platform_status(estate: Estate, facts: dict[str, Facts]) -> list[dict[str, Any]]:
    """Each platform host: ready or not, and its version."""
    return [
        {
            "host": h.name,
            "ready": bool((facts[h.name].get("platform") or {}).get("ready")),
            "version": (facts[h.name].get("platform") or {}).get("version"),
        }
        for h in estate.hosts_with("app")
    ]


def storage_status(estate: Estate, facts: dict[str, Facts], now: datetime) -> list[dict[str, Any]]:
    """Each bucket: where it is mounted, and of a copy its age (seconds since it was last complete)."""
    copies = {
        c["copy"]: c
        for h in estate.hosts_with("ops")
        for c in (facts[h.name].get("object_copy") or {}).get("copies", [])
    }
    mounts = [
        {"host": h.name, **(facts[h.name].get("attachments") or {"mounted": False, "answers": False})}
        for h in estate.hosts_with("app")
        if facts[h.name]
    ]
    found: list[dict[str, Any]] = []
    for bucket in estate.buckets:
        entry: dict[str, Any] = bucket.model_dump()
        if bucket.name == ATTACHMENTS:
            entry["mounts"] = mounts
        if bucket.copy_of:
            complete = copies.get(bucket.name, {}).get("complete_at")
            age = None if complete is None else (now - datetime.fromisoformat(complete)).total_seconds()
            entry |= {"complete_at": complete, "age_s": None if age is None else max(0, round(age))}
        found.append(entry)
    return found


def storage_problems(buckets: list[dict[str, Any]]) -> list[str]:
    """What is wrong with mounts and copies, in sentences."""
    problems: list[str] = []
    for bucket in buckets:
        for mount in bucket.get("mounts", []):
            if not mount["answers"]:
                what = "does not answer" if mount["mounted"] else "is not mounted"
                problems.append(f"object storage: {bucket['name']} {what} on {mount['host']}")
        if not bucket["copy_of"]:
            continue
        if bucket["age_s"] is None:
            problems.append(f"object storage: {bucket['name']} was never completed")
        elif bucket["age_s"] > COPY_LATE_S:
            problems.append(f"object storage: {bucket['name']} is {bucket['age_s'] // 60} minutes old")
    return problems


def certificate_status(facts: dict[str, Facts]) -> list[dict[str, str]]:
    """Every leaf that is really on a host, with its end."""
    return [
        {"name": f"{host}/{name}", "not_after": _not_after(pem)}
        for host in facts
        for name, pem in sorted((facts[host].get("certificates") or {}).items())
    ]


def _not_after(pem: str) -> str:
    end = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    return end.isoformat(timespec="seconds")


def _facts(paths: EstatePaths, host: Host) -> Facts:
    script = resources.files("infra").joinpath("host_facts.py").read_text(encoding="utf-8")
    question = json.dumps(
        {
            "services": [s.name for s in services_of(host)],
            "units": [u for s in SERVICES if set(s.roles) & set(host.roles) for u in s.units],
            "health_port": MYSQL_HEALTH.port("health").number,
        }
    )
    answer = run_on(paths, host.name, ["python3", "-", question], stdin=script, seconds=FACTS_SECONDS)
    if answer.returncode != 0:
        return {}
    facts: Facts = json.loads(answer.stdout)
    return facts
