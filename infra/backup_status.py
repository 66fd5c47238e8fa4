"""What is backed up, where, how old, and when it was last restored: from the hosts' own summaries. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.estate.backups import AGENT_WAYS, items_of, stores_of
from infra.services.backup import BACKUP
from infra.services.catalogue import services_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from infra.estate.model import Estate

LATE = timedelta(hours=26)
"""Saved each night; a clock change and a long run included."""
BEHIND_S = 60.0
"""The log reaches every region within seconds; so long behind is no hiccup."""
UNTRIED = timedelta(days=8)
"""A restore is tried each week."""

Facts = dict[str, Any]


def backup_status(estate: Estate, facts: Mapping[str, Facts], now: datetime) -> dict[str, Any]:
    """`saved`: newest of everything; `log`: streams of the database; `read_back`: by host and region;
    `restored`: the last that was tried.
    """
    saved: list[dict[str, Any]] = []
    logs: list[dict[str, Any]] = []
    tested: list[dict[str, Any]] = []
    read: list[dict[str, Any]] = []
    for host in estate.hosts:
        summary = facts[host.name].get("backup") or {}
        for name, entry in summary.items():
            if name == "base" or name.startswith("snapshot "):
                saved.append(_saved(host.name, name, entry, now))
            elif name.startswith("read-back "):
                looked = {"region": entry["region"], "problems": entry["problems"]}
                read.append({"host": host.name, **_when(entry, now), **looked})
        if test := summary.get("tested"):
            keys = ("region", "ok", "seconds", "compared", "problem")
            tested.append({"host": host.name, **_when(test, now), **{key: test[key] for key in keys}})
        if stream := facts[host.name].get("backup_log"):
            behind = {name: region["behind_s"] for name, region in stream["regions"].items()}
            logs.append({"host": host.name, "source": stream["source"], "behind_s": behind})
    return {
        "regions": [region for region, _ in stores_of(estate)],
        "saved": sorted(saved, key=lambda one: (one["what"], one["host"])),
        "log": logs,
        "read_back": read,
        "restored": max(tested, key=lambda one: one["ended"], default=None),
    }


def _saved(host: str, name: str, entry: Facts, now: datetime) -> dict[str, Any]:
    what = "mysql" if name == "base" else name.partition(" ")[2]
    return {"host": host, "what": what, **_when(entry, now)} | {
        "bytes": entry["bytes"],
        "regions": sorted(entry["snapshots"]),
    }


def _when(entry: Facts, now: datetime) -> dict[str, Any]:
    age = (now - datetime.fromisoformat(entry["ended"])).total_seconds()
    return {"id": entry["id"], "ended": entry["ended"], "age_s": round(age)}


def backup_problems(
    estate: Estate, found: Mapping[str, Any], silent: Collection[str] = frozenset()
) -> list[str]:
    """What is late, lacks a region or was not restored for too long, in sentences.

    `silent`: hosts that do not answer, which is a problem of its own: nobody knows what they saved.
    """
    if not found["regions"]:
        return []
    newest = {(one["host"], one["what"]): one for one in found["saved"]}
    hosts = [h for h in estate.hosts if BACKUP in services_of(h)]
    heard = [h for h in hosts if h.name not in silent]
    wanted = [(i.host, i.service) for h in heard for i in items_of(h) if i.save.way in AGENT_WAYS]
    problems = [
        f"backups: {what} of {host} was never saved" for host, what in wanted if (host, what) not in newest
    ]
    late = LATE.total_seconds()
    for (host, what), one in newest.items():
        if what != "mysql" and one["age_s"] > late:
            problems.append(f"backups: {what} of {host} is {one['age_s'] / 3600:.0f} h old")
        if lacking := sorted(set(found["regions"]) - set(one["regions"])):
            problems.append(f"backups: {what} of {host} is not in {', '.join(lacking)}")
    for one in found["read_back"]:
        if one["problems"]:
            problems.append(
                f"backups: {one['host']} read damage in {one['region']}: {one['problems'][0][:200]}"
            )
        elif one["age_s"] > late:
            old = f"{one['age_s'] / 3600:.0f} h"
            problems.append(f"backups: {one['host']} has not read {one['region']} back for {old}")
    if estate.hosts_with("db"):
        problems += _database_problems(found, heard_all=len(heard) == len(hosts))
    return problems


def _database_problems(found: Mapping[str, Any], *, heard_all: bool) -> list[str]:
    ages = [one["age_s"] for one in found["saved"] if one["what"] == "mysql"]
    problems: list[str] = []
    if not ages and heard_all:
        problems.append("backups: no base of the database")
    elif ages and min(ages) > LATE.total_seconds():
        problems.append(f"backups: the newest base of the database is {min(ages) / 3600:.0f} h old")
    working = [s for s in found["log"] if s["source"] and max(s["behind_s"].values(), default=0.0) < BEHIND_S]
    if not working:
        problems.append("backups: no stream of the database's log reaches every region")
    tried, limit = found["restored"], UNTRIED.total_seconds()
    if tried is not None and not tried["ok"]:
        problems.append(f"backups: the last restore was not right: {tried['problem'][:200]}")
    if (tried is None and ages and max(ages) > limit) or (tried is not None and tried["age_s"] > limit):
        problems.append("backups: no restore was tried for more than a week")
    return problems
