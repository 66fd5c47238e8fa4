"""Zabbix's part of `yiyun status`: whether it answers, what it watches, what it says is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from infra.errors import YiyunError
from monitoring.access import opened
from monitoring.derive import templates_of
from monitoring.views import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from monitoring.api import Zabbix

CALL_SECONDS = 10.0
"""The screen does not wait longer for one answer."""
WATCHED_SECONDS = 120.0
"""Server, proxy and agents fetch a new configuration every 5 to 10 s, one after the other."""
PULSE = "agent.ping"
NAMES = {number: name for name, number in SEVERITIES.items()}


def monitoring_status(estate: Estate, paths: EstatePaths) -> dict[str, Any]:
    """The object `zabbix` of the JSON contract. Never raises: what cannot be asked is `reachable: false`."""
    expected = sum(1 for host in estate.hosts if templates_of(estate, host))
    unknown = {"reachable": False, "hosts_monitored": 0, "hosts_expected": expected, "problems": []}
    if not paths.secrets.exists():
        return unknown
    try:
        zabbix = opened(estate, paths, seconds=CALL_SECONDS)
        names = [h.name for h in estate.hosts]
        question = {"output": ["host", "status"], "filter": {"host": names, "status": 0}}
        monitored = len(zabbix.call("host.get", question))
        return {**unknown, "reachable": True, "hosts_monitored": monitored, "problems": problems(zabbix)}
    except YiyunError:
        return unknown


def wait_until_watched(
    estate: Estate,
    paths: EstatePaths,
    progress: Callable[[str], None],
    *,
    since: float,
    seconds: float = WATCHED_SECONDS,
) -> None:
    """Wait until every agent has sent its pulse: server and agents take up changes on their own time.

    `since`: Unix seconds; pulses from before do not count.

    Raises YiyunError when one does not within `seconds`.
    """
    zabbix = opened(estate, paths, seconds=CALL_SECONDS)
    question = {"output": ["lastclock"], "filter": {"key_": PULSE}, "monitored": True, "templated": False}

    def counted() -> tuple[int, int]:
        pulses = zabbix.call("item.get", question)
        beating = sum(1 for item in pulses if int(item["lastclock"]) > since)
        progress(f"{beating} of {len(pulses)} agents have been heard")
        return beating, len(pulses)

    waiting = retry(
        stop=stop_after_delay(seconds),
        wait=wait_fixed(2),
        retry=retry_if_result(lambda seen: seen[0] < seen[1]),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else (0, 0),
    )
    beating, expected = waiting(counted)()
    if beating < expected:
        raise YiyunError(
            f"{beating} of {expected} agents have been heard after {seconds:.0f} s",
            hint="yiyun status names what is missing; yiyun logs HOST zabbix-agent2 tells why",
        )


def problems(zabbix: Zabbix) -> list[dict[str, Any]]:
    """Open problems that no other open problem explains, the gravest first."""
    question = {
        "output": ["triggerid", "description", "priority", "lastchange"],
        "only_true": True,
        "monitored": True,
        "skipDependent": True,
        "filter": {"value": 1},
        "selectHosts": ["host"],
        "selectTags": ["tag", "value"],
        "sortfield": ["priority", "lastchange"],
        "sortorder": ["DESC", "ASC"],
    }
    return [_problem(found) for found in zabbix.call("trigger.get", question)]


def events_since(estate: Estate, paths: EstatePaths, since: float) -> list[dict[str, str]]:
    """Problems that were opened from `since` (Unix seconds) on: `clock`, `ns`, `name` and `host` of each.

    Raises YiyunError when the monitoring does not answer.
    """
    question = {
        "output": ["clock", "ns", "name"],
        "time_from": int(since),
        "value": [1],
        "selectHosts": ["host"],
        "sortfield": ["clock", "eventid"],
    }
    found = opened(estate, paths, seconds=CALL_SECONDS).call("event.get", question)
    return [
        {**{k: str(event[k]) for k in ("clock", "ns", "name")}, "host": host["host"]}
        for event in found
        for host in event["hosts"]
    ]


def _problem(found: dict[str, Any]) -> dict[str, Any]:
    tags = {t["tag"]: t["value"] for t in found["tags"]}
    since = datetime.fromtimestamp(int(found["lastchange"]), UTC)
    return {
        "host": ", ".join(sorted(h["host"] for h in found["hosts"])),
        "name": found["description"],
        "severity": NAMES.get(str(found["priority"]), "information"),
        "since": since.isoformat(timespec="seconds"),
        "alert": tags.get("alert", ""),
        "runbook": tags.get("runbook", ""),
    }
