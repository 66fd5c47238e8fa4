"""On a database host: what its member says of itself and the group, and its part of a planned switch."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from runbooks.database.onhost.lines import serve

CONFIG = Path("/etc/yiyun/mysql-group.json")
POLL_SECONDS = 0.003
READ_SECONDS = 3.0
"""Below what those who ask wait for an answer, so that a server that hangs costs no more than its answer."""
JOIN_SECONDS = 330.0
"""A join returns once the member is in the view."""

OWN = """SELECT @@server_uuid AS uuid, @@version AS version,
  REPLACE(@@GLOBAL.gtid_executed, '\\n', '') AS executed,
  @@GLOBAL.super_read_only AS read_only, @@GLOBAL.offline_mode AS offline,
  @@GLOBAL.group_replication_single_primary_mode AS single_primary"""
RECEIVED = """SELECT REPLACE(received_transaction_set, '\\n', '') AS received
  FROM performance_schema.replication_connection_status WHERE channel_name = 'group_replication_applier'"""
VIEW = """SELECT member_id AS uuid, member_host AS host, member_state AS state, member_role AS role
  FROM performance_schema.replication_group_members WHERE member_host <> ''"""
STATS = """SELECT COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE AS apply_queue,
  COUNT_TRANSACTIONS_IN_QUEUE AS certify_queue, COUNT_CONFLICTS_DETECTED AS conflicts
  FROM performance_schema.replication_group_member_stats WHERE member_id = @@server_uuid"""
# Not information_schema.innodb_trx: that is a copy, made anew only when nobody asked for 0.1 s.
BUSY = """SELECT t.processlist_id AS id, t.processlist_user AS user, t.processlist_host AS host,
  COALESCE(IF(x.state = 'ACTIVE', x.timer_wait, 0), 0) / 1e12 AS seconds
  FROM performance_schema.threads t
  LEFT JOIN performance_schema.events_transactions_current x ON x.thread_id = t.thread_id
 WHERE t.type = 'FOREGROUND' AND t.processlist_id <> CONNECTION_ID() AND t.processlist_host IN %s
   AND (x.state = 'ACTIVE' OR t.processlist_command NOT IN
        ('Sleep', 'Connect', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID'))
 ORDER BY seconds DESC"""
COMPARE = """SELECT REPLACE(GTID_SUBTRACT(%s, %s), '\\n', '') AS missing,
  REPLACE(GTID_SUBTRACT(%s, %s), '\\n', '') AS only_here"""
CLONE = """SELECT stage, state, estimate, data FROM performance_schema.clone_progress ORDER BY id"""
PROOF = "UPDATE yiyun_probe.proof SET count = count + 1, proved_at = CURRENT_TIMESTAMP(6) WHERE member = %s"


class Member:
    """The member of the host this runs on, as its administrator sees it."""

    def __init__(self, config: dict[str, Any], health_port: int, ssl: dict[str, Any] | None = None) -> None:
        self._config, self._health_port = config, health_port
        self._ssl = {"ca": config.get("ca")} if ssl is None else ssl
        self._connection: Any = None
        self._patience = READ_SECONDS

    @property
    def handlers(self) -> dict[str, Any]:
        """What can be asked."""
        names = ("look", "drain", "catch_up", "prove", "ready", "elect", "compare", "cloning", "clone_next")
        return {name: getattr(self, name) for name in names}

    def look(self, clients: list[str]) -> dict[str, Any]:
        """State, view, transactions, queues, who is busy. `clients`: addresses sessions come from."""
        try:
            own = self._row(OWN) or {}
            view = self._rows(VIEW)
            names = {address: name for name, address in self._config["members"].items()}
            state = next((m["state"] for m in view if m["uuid"] == own["uuid"]), "OFFLINE")
            busy = self._busy(clients)
            return {
                **own,
                **(self._row(STATS) or {"apply_queue": 0, "certify_queue": 0, "conflicts": 0}),
                "answers": True,
                "state": state,
                "received": (self._row(RECEIVED) or {"received": ""})["received"],
                "view": {names.get(m["host"], m["host"]): m["state"] for m in view} if own else {},
                "busy": busy,
                "health": self._health(),
            }
        except (pymysql.MySQLError, OSError) as error:
            return {"answers": False, "problem": _short(error), "health": self._health()}

    def drain(self, clients: list[str], limit: float) -> dict[str, Any]:
        """Wait until no client is in a transaction, `limit` seconds at most; then say what is executed."""
        ends = time.monotonic() + limit
        while (busy := self._busy(clients)) and time.monotonic() < ends:
            time.sleep(POLL_SECONDS)
        executed = self._row("SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '') AS executed") or {}
        return {"busy": busy, **executed}

    def catch_up(self, executed: str, limit: float) -> dict[str, Any]:
        """Wait until everything of `executed` is applied here, `limit` seconds at most."""
        late = self._row("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late", executed, limit) or {}
        return {"caught_up": late.get("late") == 0}

    def prove(self, member: str) -> dict[str, Any]:
        """Commit here, behind everything the group has acknowledged. Its failure is the reply's `error`."""
        began = time.monotonic()
        self._row("SET SESSION group_replication_consistency = 'BEFORE'")
        self._row(PROOF, member)
        return {"seconds": time.monotonic() - began}

    def ready(self, limit: float) -> dict[str, Any]:
        """Wait until this member's health agent says that it may be the writer, `limit` seconds at most."""
        ends = time.monotonic() + limit
        while not (health := self._health())["ready"] and time.monotonic() < ends:
            time.sleep(POLL_SECONDS)
        return health

    def elect(self, uuid: str) -> dict[str, Any]:
        """Make a member the primary of a group that has one."""
        said = self._row("SELECT group_replication_set_as_primary(%s, 1) AS said", uuid) or {}
        return {"said": said.get("said", "")}

    def compare(self, sets: dict[str, str]) -> dict[str, Any]:
        """Per name, what the others hold and it does not, and what only it holds, as MySQL computes it."""
        found: dict[str, Any] = {"missing": {}, "only": {}}
        for name, own in sets.items():
            others = ",".join(s for other, s in sets.items() if other != name and s)
            row = self._row(COMPARE, others, own, own, others) or {}
            found["missing"][name], found["only"][name] = row["missing"], row["only_here"]
        return found

    def cloning(self) -> dict[str, Any]:
        """How far a copy of another member has come: its stages, bytes wanted and there."""
        try:
            return {"stages": self._rows(CLONE), "answers": True}
        except (pymysql.MySQLError, OSError) as error:
            return {"stages": [], "answers": False, "problem": _short(error)}

    def clone_next(self) -> dict[str, Any]:
        """Join by a copy of another member, however little is missing; returns when the join has begun."""
        self._drop()  # of the server that was here before
        self._patience = JOIN_SECONDS
        try:
            self._row("SET GLOBAL group_replication_clone_threshold = 1")
            self._row("STOP GROUP_REPLICATION")
            recovery = self._config["recovery"]
            started = "START GROUP_REPLICATION USER = %s, PASSWORD = %s"
            self._row(started, recovery["user"], recovery["password"])
        finally:
            self._patience = READ_SECONDS
            self._drop()
        return {}

    def _busy(self, clients: list[str]) -> list[dict[str, Any]]:
        found = self._rows(BUSY, tuple(clients) or ("",))
        return [{**row, "seconds": round(float(row["seconds"]), 3)} for row in found]

    def _health(self) -> dict[str, Any]:
        """What this member's health agent says; `ready` False when it says nothing."""
        url = f"http://{self._config['members'][self._config['name']]}:{self._health_port}/state"
        try:
            with urllib.request.urlopen(url, timeout=1) as response:
                said: dict[str, Any] = json.load(response)
        except (OSError, ValueError) as error:
            return {"ready": False, "reasons": [f"its health agent does not answer: {_short(error)}"]}
        return {"ready": said["ready"], "reasons": said["reasons"]}

    def _row(self, statement: str, *arguments: Any) -> dict[str, Any] | None:
        return next(iter(self._rows(statement, *arguments)), None)

    def _rows(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        try:
            with self._connected().cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return list(cursor.fetchall())
        except (pymysql.OperationalError, pymysql.InterfaceError, OSError):
            self._drop()  # also when only the statement failed: a new session costs nothing here
            raise

    def _connected(self) -> Any:
        if self._connection is None:
            admin = self._config["admin"]
            self._connection = pymysql.connect(
                host=self._config["members"][self._config["name"]],
                port=self._config["port"],
                user=admin["user"],
                password=admin["password"],
                ssl=self._ssl or None,
                connect_timeout=2,
                read_timeout=self._patience,
                autocommit=True,
                cursorclass=pymysql.cursors.DictCursor,
            )
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()


def _short(error: BaseException) -> str:
    return " ".join(str(a) for a in error.args)[:200] or type(error).__name__


def main(health_port: int, config: str = str(CONFIG)) -> None:
    """Serve requests until standard input ends."""
    serve(Member(json.loads(Path(config).read_text(encoding="utf-8")), health_port).handlers)
