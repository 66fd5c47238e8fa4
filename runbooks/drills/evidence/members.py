"""What every member holds after a drill, read at one GTID set past all routers."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from infra.drivers.lab.hosts import run_in_host
from infra.errors import YiyunError
from runbooks.drills.evidence.history import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from infra.paths import EstatePaths

SCHEMA = "yiyun_drill"
AGREE_SECONDS = 60
CONFLICTS = """SELECT COUNT_CONFLICTS_DETECTED FROM performance_schema.replication_group_member_stats
WHERE MEMBER_ID = @@server_uuid"""
MYSQL = (
    *("mysql", "--defaults-file=/etc/mysql/mysql.conf.d/yiyun.cnf", "--user=root"),
    *("--batch", "--raw", "--skip-column-names", "--execute"),
)
HELD = """START TRANSACTION READ ONLY;
SELECT JSON_OBJECT(
  'gtid_set', REPLACE(@@GLOBAL.gtid_executed, '\\n', ''),
  'lists', (SELECT JSON_OBJECTAGG(name, body) FROM yiyun_drill.lists),
  'registers', (SELECT JSON_OBJECTAGG(name, version) FROM yiyun_drill.registers),
  'total', (SELECT CAST(SUM(balance) AS SIGNED) FROM yiyun_drill.accounts))"""


def held_by(
    paths: EstatePaths, members: Iterable[str], read: Callable[[EstatePaths, str], Held] | None = None
) -> list[Held]:
    """What every member holds, once all have the same GTIDs and nobody writes any more.

    `read`: how one member is read; `one` when none is given. Raises YiyunError naming the members that did
    not come to agree in time.
    """
    names = list(members)
    deadline = time.monotonic() + AGREE_SECONDS
    while True:
        found = [(read or one)(paths, name) for name in names]
        if len({h.gtid_set for h in found}) == 1:
            return found
        if time.monotonic() > deadline:
            sets = "; ".join(f"{h.member}: {h.gtid_set}" for h in found)
            raise YiyunError(f"members did not come to the same GTID set: {sets}", hint="yiyun status")
        time.sleep(0.2)


def asked(paths: EstatePaths, member: str, statement: str) -> Any:
    """A statement's one JSON value at a member; None of a statement that gives none. Raises YiyunError."""
    done = run_in_host(paths, member, [*MYSQL, statement])
    if done.returncode != 0:
        raise YiyunError(f"{member}: {done.stderr.strip()}", hint="yiyun status")
    return json.loads(done.stdout) if done.stdout.strip() else None


def conflicts(paths: EstatePaths, members: Iterable[str]) -> dict[str, int]:
    """Member → transactions that certification has refused since it began. Who is out is left out."""
    found: dict[str, int] = {}
    for member in members:
        with contextlib.suppress(YiyunError):
            found[member] = int(asked(paths, member, CONFLICTS))
    return found


def one(paths: EstatePaths, member: str) -> Held:
    """What one member holds. Raises YiyunError when it does not answer."""
    data = asked(paths, member, HELD)
    lists = {name: [int(x) for x in body.split(",") if x] for name, body in (data["lists"] or {}).items()}
    return Held(
        member=member,
        gtid_set=data["gtid_set"],
        lists=lists,
        registers=data["registers"] or {},
        total=int(data["total"] or 0),
    )
