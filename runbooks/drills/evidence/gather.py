"""Ask every layer what it saw: routers' journals, members' error logs, Zabbix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import run_in_host
from infra.errors import YiyunError
from monitoring.look import events_since
from runbooks.drills.evidence.members import MYSQL
from runbooks.drills.evidence.observers import alert_sightings, member_sightings, router_sightings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.evidence.observers import Sighting

MEMBER_QUERY = """SELECT UNIX_TIMESTAMP(LOGGED), ERROR_CODE, REPLACE(DATA, '\\n', ' ')
FROM performance_schema.error_log
WHERE SUBSYSTEM = 'Repl' AND UNIX_TIMESTAMP(LOGGED) >= {since:.3f} ORDER BY LOGGED"""

TWICE_SECONDS = 0.05
"""The same words of one observer within it are one: the alert and the log line are a millisecond apart."""


def gather(estate: Estate, paths: EstatePaths, since: float) -> tuple[list[Sighting], list[str]]:
    """Sightings from `since` (Unix seconds) on, in order of time, and who could not be asked, and why."""
    found: list[Sighting] = []
    silent: list[str] = []

    def ask(who: str, look: Callable[[], Iterable[Sighting]]) -> None:
        try:
            found.extend(look())
        except YiyunError as error:
            silent.append(f"{who}: {error.message}")

    for host in (h.name for h in estate.hosts_with("app")):
        ask(f"router of {host}", lambda host=host: router_sightings(host, _router(paths, host, since)))
    for host in (h.name for h in estate.hosts_with("db")):
        ask(f"member {host}", lambda host=host: member_sightings(host, _member(paths, host, since)))
    ask("monitoring", lambda: alert_sightings(events_since(estate, paths, since)))
    return once(found), silent


def once(found: Iterable[Sighting]) -> list[Sighting]:
    """In order of time, each once: HAProxy says a change as an alert and again in its log. Pure."""
    kept: dict[tuple[str, str, str], Sighting] = {}
    ordered: list[Sighting] = []
    for sight in sorted(found, key=lambda s: s.at):
        last = kept.get((sight.layer, sight.host, sight.text))
        if last is None or sight.at - last.at > TWICE_SECONDS:
            ordered.append(sight)
        kept[sight.layer, sight.host, sight.text] = sight
    return ordered


def _router(paths: EstatePaths, host: str, since: float) -> str:
    unit = ["journalctl", "--unit=haproxy", "--output=json", "--output-fields=MESSAGE", "--quiet"]
    return _said(paths, host, [*unit, f"--since=@{since:.3f}"])


def _member(paths: EstatePaths, host: str, since: float) -> str:
    return _said(paths, host, [*MYSQL, MEMBER_QUERY.format(since=since)])


def _said(paths: EstatePaths, host: str, argv: list[str]) -> str:
    done = run_in_host(paths, host, argv)
    if done.returncode != 0:
        raise YiyunError(done.stderr.strip() or f"exit code {done.returncode}", hint="yiyun status")
    return done.stdout
