"""Every alert about backups, its fault planted, is seen to fire at its host, and closes when that is over.

What a host says of its backups is a file; an old or a bad word in it is what an agent would have written.
`backup-one-region` waits for a day, so its item alone is looked at.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from infra.drivers.lab.hosts import run_in_host
from tests.lab.long import long
from tests.lab.test_40_monitoring import oncall as oncall
from tests.lab.test_40_monitoring import open_alerts, settled
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitoring.api import Zabbix
    from tests.lab.harness import Lab

SUMMARY, STREAM = "/var/lib/yiyun-backup/summary.json", "/run/yiyun-backup/stream.json"
FIRES_SECONDS, CLOSES_SECONDS = 330, 330
"""Three values of a minute each, and some."""
HOUR, DAY = 3600, 86400


@contextmanager
def told(lab: Lab, host: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """A host's summary with something changed in it, until the block ends."""
    said = run_in_host(lab.paths, host, ["cat", SUMMARY]).stdout
    other: dict[str, Any] = json.loads(said)
    change(other)
    write(lab, host, SUMMARY, json.dumps(other))
    try:
        yield
    finally:
        write(lab, host, SUMMARY, said)


def write(lab: Lab, host: str, path: str, text: str) -> None:
    """In place: owner and mode stay."""
    done = run_in_host(lab.paths, host, ["sh", "-c", f"cat > {path}"], stdin=text)
    assert done.returncode == 0, done.stderr


def older(name: str, seconds: int) -> Callable[[dict[str, Any]], None]:
    """Entries whose name begins so, that old."""

    def change(summary: dict[str, Any]) -> None:
        for key, entry in summary.items():
            if key.startswith(name):
                entry["ended_s"] = int(time.time()) - seconds

    return change


def read_back(hours: int, *problems: str) -> Callable[[dict[str, Any]], None]:
    """The near region as it was read back that long ago: a new lab has not done so yet."""

    def change(summary: dict[str, Any]) -> None:
        entry = {"id": "x.1", "ended_s": int(time.time()) - hours * HOUR, "kind": "read-back"}
        summary["read-back near"] = entry | {"region": "near", "problems": list(problems)}

    return change


def tried(*, ok: bool, days: int) -> Callable[[dict[str, Any]], None]:
    entry = {"id": "x.1", "ended_s": int(time.time()) - days * DAY, "kind": "tested", "ok": ok}

    def change(summary: dict[str, Any]) -> None:
        summary["tested"] = entry
        summary["first"] = summary["first"] | {"ended_s": int(time.time()) - days * DAY}

    return change


@long
def test_each_alert_fires_at_its_host_and_closes(lab: Lab, oncall: Zabbix) -> None:
    eventually(lambda: settled(oncall), seconds=CLOSES_SECONDS, every=2.0)
    wanted = {
        ("app-1", "backup-late"),
        ("app-2", "backup-unread"),
        ("ora-1", "backup-damaged"),
        ("ops-1", "restore-wrong"),
    }
    with ExitStack() as planted:
        for host, change in (
            ("app-1", older("snapshot ", 30 * HOUR)),
            ("app-2", read_back(30)),
            ("ora-1", read_back(1, "planted")),
            ("ops-1", tried(ok=False, days=1)),
        ):
            planted.enter_context(told(lab, host, change))
        eventually(lambda: wanted <= open_alerts(oncall), seconds=FIRES_SECONDS, every=2.0)
    eventually(lambda: settled(oncall), seconds=CLOSES_SECONDS, every=2.0)


@long
def test_without_a_base_a_trial_or_a_way_for_the_log_somebody_is_told(lab: Lab, oncall: Zabbix) -> None:
    members = [h.name for h in lab.estate.hosts_with("db")]
    with ExitStack() as planted:
        planted.enter_context(told(lab, "ops-1", tried(ok=True, days=9)))
        for host in members:
            planted.enter_context(told(lab, host, older("base", 30 * HOUR)))
        for host in members[:2]:
            lab.on(host, "systemctl", "stop", "yiyun-backup-stream")
            planted.callback(lab.on, host, "systemctl", "start", "yiyun-backup-stream")
        seen: set[str] = set()

        def all_seen() -> bool:
            seen.update(alert for _, alert in open_alerts(oncall))
            return seen >= {"restore-untried", "backup-base-old", "backup-log-behind"}

        eventually(all_seen, seconds=FIRES_SECONDS, every=2.0)
    eventually(lambda: settled(oncall), seconds=CLOSES_SECONDS, every=2.0)


@long
def test_a_hole_in_the_log_is_told_at_once(lab: Lab, oncall: Zabbix) -> None:
    """On the member that streams nothing: what it says stays as it was written."""
    host = lab.estate.hosts_with("db")[-1].name
    hole = {"regions": {}, "source": host, "hole": "a:1-5", "at": time.time()}
    run_in_host(lab.paths, host, ["mkdir", "-p", "/run/yiyun-backup"])
    write(lab, host, STREAM, json.dumps(hole))
    try:
        eventually(lambda: (host, "backup-hole") in open_alerts(oncall), seconds=60, every=1.0)
    finally:
        run_in_host(lab.paths, host, ["rm", "-f", STREAM])
    eventually(lambda: settled(oncall), seconds=CLOSES_SECONDS, every=2.0)
