#!/usr/bin/python3
"""Form, watch and show the MySQL group, from any of its members.

`yiyun-mysql-group status` shows what each member says; `converge` forms the group or lets members join it
(after a total stop: on the member that holds every transaction); `watch` lets this member join again when it
has fallen out and a group serves elsewhere, and never bootstraps; `accounts` makes the accounts and schemas
described on stdin; `certificates` makes this member use its newest certificate and authorities. One JSON
object on stdout; exit 0 fine, 1 failed, 3 refused for safety.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mysql_accounts
import pymysql
from group_plan import Plan, Seen, make_plan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

CONFIG = Path("/etc/yiyun/mysql-group.json")
HOLD = Path("/run/yiyun-mysql-group.hold")
"""While this file exists `watch` leaves the member alone (a cold copy, an upgrade)."""
GIVEN_UP = Path("/var/lib/yiyun-mysql-group/given-up.json")
"""Members that an operator has given up: the health agent asks for a majority of the others only."""
CERTIFICATE = Path("/etc/yiyun/tls/mysql.crt")
USED = Path("/run/yiyun-mysql-certificates")
"""Its time says when this member last took up its certificate while running."""
SPARE_SECONDS = 30
"""How long a member waits for the others to serve before it would leave the group for a moment."""
WATCH_SECONDS = 1.0
START_SECONDS = 300
"""START GROUP_REPLICATION returns once the member is in the view; a join is slow behind a busy donor."""
BUSY = 3663
"""The server's error while another START or STOP of the plugin runs: the member's keeper was sooner."""
FAILED, REFUSED = 1, 3


@dataclass(frozen=True)
class Login:
    """An account and its password."""

    user: str
    password: str


@dataclass(frozen=True)
class Group:
    """The configured members, by name in order of preference, and how to reach them."""

    name: str
    members: dict[str, str]
    port: int
    group_port: int
    ca: str
    admin: Login
    recovery: Login
    single_primary: bool = False
    """The mode the group shall have."""

    @classmethod
    def load(cls, path: Path) -> Group:
        """Read the group's file. Raises OSError or ValueError."""
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            name=raw["name"],
            members=dict(raw["members"]),
            port=int(raw["port"]),
            group_port=int(raw["group_port"]),
            ca=raw["ca"],
            admin=Login(**raw["admin"]),
            recovery=Login(**raw["recovery"]),
            single_primary=bool(raw.get("single_primary", False)),
        )

    def connect(self, member: str, read_seconds: float = 5) -> Any:
        """An administrator's connection to a member, over TLS that proves its address."""
        return pymysql.connect(
            host=self.members[member],
            port=self.port,
            user=self.admin.user,
            password=self.admin.password,
            ssl={"ca": self.ca},
            connect_timeout=2,
            read_timeout=read_seconds,
            autocommit=True,
        )


OWN = "SELECT @@server_uuid, @@GLOBAL.gtid_executed"
RECEIVED = (
    "SELECT received_transaction_set FROM performance_schema.replication_connection_status"
    " WHERE channel_name = 'group_replication_applier'"
)
VIEW = "SELECT member_id, member_host, member_state FROM performance_schema.replication_group_members"


def observe(group: Group, member: str) -> Seen:
    """Ask one member; a member that does not answer is seen as such."""
    try:
        with group.connect(member) as connection, connection.cursor() as cursor:
            cursor.execute(OWN)
            uuid, executed = cursor.fetchone()
            cursor.execute(RECEIVED)
            received = (cursor.fetchone() or ("",))[0]
            cursor.execute(VIEW)
            rows: list[tuple[str, str, str]] = list(cursor.fetchall())
    except (pymysql.MySQLError, OSError) as error:
        return Seen(member, answered=False, problem=_short(error))
    names = {address: name for name, address in group.members.items()}
    own = next((state for member_id, _, state in rows if member_id == uuid), "OFFLINE")
    view = tuple(sorted((names.get(host, host), state) for _, host, state in rows if host))
    sets = [text.replace("\n", "") for text in (executed, received) if text]
    return Seen(member, state=own, view=() if own == "OFFLINE" else view, gtids=",".join(sets))


def observe_all(group: Group) -> list[Seen]:
    """Ask every configured member at once, in order of preference."""
    with ThreadPoolExecutor(len(group.members)) as pool:
        return list(pool.map(observe, [group] * len(group.members), group.members))


def plan_of(group: Group, seen: Sequence[Seen], without: Collection[str] = ()) -> Plan:
    """The next step; GTID sets are compared by the first member that answers."""

    def contains(whole: str, part: str) -> bool:
        judge = next(m.name for m in seen if m.answered)
        with group.connect(judge) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT GTID_SUBSET(%s, %s)", (part, whole))
            return bool(cursor.fetchone()[0])

    return make_plan(seen, contains, without)


def start(group: Group, member: str, *, bootstrap: bool) -> None:
    """Start the group's plugin on one member. The bootstrap flag is off again whatever happens."""
    with group.connect(member, START_SECONDS) as connection, connection.cursor() as cursor:
        if bootstrap:
            cursor.execute("SET GLOBAL group_replication_bootstrap_group = ON")
        try:
            stop_plugin(cursor)
            cursor.execute(
                "START GROUP_REPLICATION USER = %s, PASSWORD = %s",
                (group.recovery.user, group.recovery.password),
            )
        finally:
            if bootstrap:
                cursor.execute("SET GLOBAL group_replication_bootstrap_group = OFF")


def stop_plugin(cursor: Any) -> None:
    """Stop the plugin; a member in ERROR needs that before it can start again."""
    cursor.execute("STOP GROUP_REPLICATION")


def force(group: Group, members: Sequence[str]) -> None:
    """Tell who is left of a group that it is the whole group. The option is empty again whatever happens."""
    addresses = ",".join(f"{group.members[name]}:{group.group_port}" for name in members)
    with group.connect(members[0], START_SECONDS) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("SET GLOBAL group_replication_force_members = %s", (addresses,))
        finally:
            cursor.execute("SET GLOBAL group_replication_force_members = ''")


def given_up() -> set[str]:
    """Members that were given up and have not come back."""
    try:
        return set(json.loads(GIVEN_UP.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()


def give_up(names: Collection[str]) -> None:
    """Go on without these members, which must be lost. They are struck out as they come back (`watch`)."""
    if not set(names) <= (before := given_up()):
        _note(before | set(names))


def strike_out(back: Collection[str]) -> None:
    """These serve again: they count as all do."""
    if (before := given_up()) & set(back):
        _note(before - set(back))


def _note(names: Collection[str]) -> None:
    if not names:
        GIVEN_UP.unlink(missing_ok=True)
        return
    GIVEN_UP.parent.mkdir(exist_ok=True)
    new = GIVEN_UP.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.write_text(json.dumps(sorted(names)) + "\n", encoding="utf-8")
    new.chmod(0o644)
    new.replace(GIVEN_UP)


def act(group: Group, plan: Plan) -> None:
    """Carry out one step; several members at once."""
    if plan.action == "force":
        force(group, plan.members)
        return

    def one(member: str) -> None:
        if plan.action == "stop":
            with group.connect(member, START_SECONDS) as connection, connection.cursor() as cursor:
                stop_plugin(cursor)
        else:
            start(group, member, bootstrap=plan.action == "bootstrap")

    with ThreadPoolExecutor(len(group.members)) as pool:
        list(pool.map(one, plan.members))


def leave_offline_mode(group: Group, seen: Sequence[Seen]) -> None:
    """Open members that serve again: a member that had failed for good had shut itself for clients."""
    for member in (m.name for m in seen if m.serves):
        with group.connect(member) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.offline_mode")
            if cursor.fetchone()[0]:
                cursor.execute("SET GLOBAL offline_mode = OFF")


def change_mode(group: Group, seen: Sequence[Seen], *, check: bool) -> bool:
    """Give a whole group the mode it shall have, while it serves; whether it had another one.

    Only when every member takes part: the others would come back with a mode that the group refuses. A member
    that restarts has it from its file. Raises MySQLError.
    """
    if not seen or not all(m.serves for m in seen):
        return False
    with group.connect(seen[0].name, START_SECONDS) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.group_replication_single_primary_mode")
        if bool(cursor.fetchone()[0]) == group.single_primary:
            return False
        wanted = "single" if group.single_primary else "multi"
        if not check:
            cursor.execute(f"SELECT group_replication_switch_to_{wanted}_primary_mode()")
            cursor.fetchall()
    return True


def converge(group: Group, deadline: float, without: Collection[str], *, check: bool) -> tuple[int, Any]:
    """Step until every member that answers serves. `check`: only say what the first step would be."""
    began, steps = time.monotonic(), list[Any]()
    while True:
        seen = observe_all(group)
        plan = plan_of(group, seen, without)
        late = time.monotonic() - began > deadline
        if plan.action in {"none", "refuse"} or late or check:
            break
        if plan.action == "wait":
            time.sleep(0.1)
            continue
        if plan.action in {"force", "bootstrap"}:  # before it: nobody serves on less without the note
            give_up([m.name for m in seen if not m.answered and m.name in without])
        steps.append(asdict(plan) | {"at": round(time.monotonic() - began, 2)})
        try:
            act(group, plan)
        except (pymysql.MySQLError, OSError) as error:
            if BUSY in error.args:
                steps.pop()
            else:
                steps[-1]["error"] = _short(error)
            time.sleep(0.5)
    mode_changed = False
    if plan.action == "none":
        if not check:
            leave_offline_mode(group, seen)
        mode_changed = change_mode(group, seen, check=check)
    result = {
        "changed": bool(steps)
        or mode_changed
        or (check and plan.action in {"bootstrap", "join", "force", "stop"}),
        "plan": asdict(plan),
        "steps": steps,
        "seconds": round(time.monotonic() - began, 2),
        "members": {m.name: m.state if m.answered else "SILENT" for m in seen},
    }
    code = REFUSED if plan.action == "refuse" else FAILED if plan.action != "none" and not check else 0
    return code, result


def watch(group: Group) -> None:
    """Join again whenever this member is out and a group serves on another. Never returns."""
    told = ""
    while True:
        text = "" if HOLD.exists() else watch_once(group)
        if text and text != told:
            print(text, flush=True)  # noqa: T201 - the journal is where a service speaks
        told = text
        time.sleep(WATCH_SECONDS)


def watch_once(group: Group) -> str:
    """One look; returns what was done or why not, empty when all is well."""
    own = observe(group, group.name)
    try:
        if not own.answered or own.state in {"ONLINE", "RECOVERING"}:
            leave_offline_mode(group, [own])
            strike_out(own.online)
            return ""
        plan = plan_of(group, observe_all(group))
        if plan.action != "join" or group.name not in plan.members:
            return f"{own.state}: {plan.reason}"
        start(group, group.name, bootstrap=False)
    except (pymysql.MySQLError, OSError) as error:
        return f"{own.state}: could not join: {_short(error)}"
    return f"joined: {plan.reason}"


def ensure_accounts(group: Group, *, check: bool) -> tuple[int, Any]:
    """Make what stdin describes, once, on the first member that serves; it reaches the others by itself."""
    wanted = mysql_accounts.Wanted.parse(json.load(sys.stdin))
    serving = next((m.name for m in observe_all(group) if m.serves), None)
    if serving is None:
        return FAILED, {"changed": False, "error": "no member serves"}
    with group.connect(serving, 30) as connection, connection.cursor() as cursor:
        done = mysql_accounts.ensure(cursor, wanted, check=check)
    return 0, {"changed": bool(done), "done": done, "through": serving}


def certificates(group: Group, deadline: float, *, check: bool) -> tuple[int, Any]:
    """Take up the member's newest certificate and authorities, at the server's door and in the group's links.

    The links read them only when the member joins, so it leaves and joins again. When another member is away
    this one must not leave: the links then wait for the next run.
    """
    if not newer_than_use([Path(group.ca), CERTIFICATE], USED):
        return 0, {"changed": False}
    if check:
        return 0, {"changed": True}
    began = time.time()
    with group.connect(group.name, START_SECONDS) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER INSTANCE RELOAD TLS")
    while not all(m.serves for m in observe_all(group)):
        if time.time() - began > SPARE_SECONDS:
            return 0, {"changed": True, "waiting": "the group's links, until every member serves"}
        time.sleep(0.2)
    HOLD.touch()
    try:
        start(group, group.name, bootstrap=False)
    finally:
        HOLD.unlink(missing_ok=True)
    code, result = converge(group, deadline, (), check=False)
    if code == 0:
        USED.touch()
        os.utime(USED, (began, began))
    return code, {**result, "changed": True}


def newer_than_use(files: Sequence[Path], used: Path) -> bool:
    """Whether a file changed since it was last taken up: by the server's start, or as `used` notes."""
    shown = ["systemctl", "show", "mysql", "--property=ExecMainStartTimestamp", "--value", "--timestamp=unix"]
    started = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip().lstrip("@")
    since = max(float(started or 0), used.stat().st_mtime if used.exists() else 0.0)
    return any(path.stat().st_ctime >= since for path in files)


def _short(error: BaseException) -> str:
    return " ".join(str(a) for a in error.args)[:300] or type(error).__name__


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--check", action="store_true", help="change nothing, say what would be done")
    parser.add_argument("--deadline", type=float, default=120, help="seconds `converge` may take")
    parser.add_argument("--without", action="append", default=[], help="a silent member to give up")
    parser.add_argument("verb", choices=["status", "converge", "watch", "accounts", "certificates"])
    options = parser.parse_args()
    group = Group.load(options.config)
    code, result = 0, {}
    if options.verb == "watch":
        watch(group)
    elif options.verb == "status":
        seen = observe_all(group)
        result = {"members": [asdict(m) for m in seen], "plan": asdict(plan_of(group, seen))}
    elif options.verb == "converge":
        code, result = converge(group, options.deadline, options.without, check=options.check)
    elif options.verb == "certificates":
        code, result = certificates(group, options.deadline, check=options.check)
    else:
        code, result = ensure_accounts(group, check=options.check)
    print(json.dumps(result))  # noqa: T201 - the result
    return code


if __name__ == "__main__":
    sys.exit(main())
