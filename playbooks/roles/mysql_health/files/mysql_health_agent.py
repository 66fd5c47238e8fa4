#!/usr/bin/python3
"""Says over HTTP whether this MySQL member may be the writer; its last word is a commit.

A member's own tables lie: for seconds after a thaw, and for as long as a quorum is lost. So besides the tables
(state, majority, queue, read-only) a *proof* counts: an update of this member's row in a probe table, in a
session that first waits for everything acknowledged so far, within a deadline. It runs in a thread of its own
and is answered from its last result, with its age. `GET /` is 200 or 503, `GET /state` always 200 with the same
body for screens.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pymysql


@dataclass(frozen=True)
class Settings:
    """Times in seconds; `configured` is the number of members the estate names."""

    member: str
    address: str
    port: int
    configured: int
    socket: str = "/run/mysqld/mysqld.sock"
    user: str = "yiyun_health"
    sample_every: float = 0.1
    sample_deadline: float = 0.3
    prove_idle: float = 0.5
    prove_alert: float = 0.1
    proof_deadline: float = 0.3
    proof_max_age: float = 1.2
    sample_max_age: float = 0.6
    frozen_after: float = 1.0
    tick: float = 0.05
    allow_smaller_group: bool = False
    """After clean leaves a smaller group is legitimate: an operator's decision."""


@dataclass(frozen=True)
class Sample:
    """What the member's own tables said, and when (monotonic seconds)."""

    at: float
    state: str = "OFFLINE"
    online: int = 0
    drained: bool = False
    queue: int = 0
    writable: bool = False
    gtid_executed: str = ""
    members: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Proof:
    """The last attempt to commit: when it began, how long it took, and why it failed if it did."""

    begun: float
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the member may be the writer, and every reason why not."""

    ready: bool
    reasons: tuple[str, ...] = ()


def judge(
    settings: Settings,
    now: float,
    sample: Sample | None,
    proof: Proof | None,
    last_tick: float,
    not_before: float,
) -> Verdict:
    """Whether the member may be the writer.

    `last_tick`: when the agent's own loop last ran; a gap means that the host was frozen and everything known
    is old. `not_before`: a proof must have begun after this to count.
    """
    reasons: list[str] = []
    if now - last_tick > settings.frozen_after:
        reasons.append(f"this host stood still for {now - last_tick:.1f} s")
    if sample is None or now - sample.at > settings.sample_max_age:
        reasons.append("the member has not answered" if sample is None else "its last answer is too old")
    else:
        reasons += sample_reasons(settings, sample)
    reasons += proof_reasons(settings, now, proof, not_before)
    return Verdict(not reasons, tuple(reasons))


def sample_reasons(settings: Settings, sample: Sample) -> list[str]:
    """Why the member's own tables say no."""
    if sample.problem:
        return [f"the member does not answer: {sample.problem}"]
    needed = 1 if settings.allow_smaller_group else settings.configured // 2 + 1
    checks = [
        (sample.state == "ONLINE", f"the member is {sample.state}"),
        (
            sample.online >= needed,
            f"{sample.online} of {settings.configured} members are ONLINE, not {needed}",
        ),
        (sample.drained and sample.queue == 0, "received transactions are not applied yet"),
        (sample.writable, "the member is read-only"),
    ]
    return [text for holds, text in checks if not holds]


def proof_reasons(settings: Settings, now: float, proof: Proof | None, not_before: float) -> list[str]:
    """Why the last proof does not count."""
    if proof is None:
        return ["no commit has been proved yet"]
    if proof.problem:
        return [f"the commit proof failed: {proof.problem}"]
    if proof.seconds > settings.proof_deadline:
        return [f"the commit took {proof.seconds:.2f} s"]
    if proof.begun <= not_before:
        return ["the last proof is from before a doubt"]
    if now - proof.begun > settings.proof_max_age:
        return [f"the last proof is {now - proof.begun:.1f} s old"]
    return []


SAMPLE = """
SELECT COALESCE(MAX(IF(member_id = @@server_uuid, member_state, NULL)), 'OFFLINE'),
       COALESCE(SUM(member_state = 'ONLINE'), 0),
       COALESCE(GROUP_CONCAT(member_host, '=', member_state ORDER BY member_host), ''),
       (SELECT COALESCE(MIN(GTID_SUBSET(received_transaction_set, @@GLOBAL.gtid_executed)), 1)
          FROM performance_schema.replication_connection_status
         WHERE channel_name = 'group_replication_applier'),
       (SELECT COALESCE(SUM(count_transactions_remote_in_applier_queue), 0)
          FROM performance_schema.replication_group_member_stats WHERE member_id = @@server_uuid),
       NOT (@@GLOBAL.super_read_only OR @@GLOBAL.read_only OR @@GLOBAL.offline_mode),
       @@GLOBAL.gtid_executed
  FROM performance_schema.replication_group_members
"""


class Client:
    """One connection, opened when needed and dropped on any error."""

    def __init__(self, settings: Settings, password: str, deadline: float, first: str = "") -> None:
        self._settings, self._password, self._deadline, self._first = settings, password, deadline, first
        self._connection: Any = None

    def run(self, statement: str, arguments: tuple[str, ...] = ()) -> Any:
        """Run a statement; returns its first row. Raises MySQLError or OSError, without a connection left."""
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchone()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection without a word to the server: it may not be listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()  # noqa: SLF001 - pymysql has no public way to close without a QUIT

    def _open(self) -> Any:
        return pymysql.connect(
            unix_socket=self._settings.socket,
            user=self._settings.user,
            password=self._password,
            connect_timeout=self._deadline,
            read_timeout=self._deadline,
            write_timeout=self._deadline,
            init_command=self._first or None,
            autocommit=True,
        )


@dataclass
class Agent:
    """The threads and what they last saw."""

    settings: Settings
    password: str = field(repr=False)
    sample: Sample | None = None
    proof: Proof | None = None
    last_tick: float = field(default_factory=time.monotonic)
    not_before: float = 0.0
    doubt: threading.Event = field(default_factory=threading.Event)

    def verdict(self) -> Verdict:
        """The verdict of this moment."""
        now = time.monotonic()
        return judge(self.settings, now, self.sample, self.proof, self.last_tick, self.not_before)

    def start(self) -> None:
        """Start the threads; if one of them ends, so does the process, and systemd starts it anew."""
        for work in (self._tick, self._sample, self._prove):
            threading.Thread(target=_or_die, args=(work,), name=work.__name__, daemon=True).start()

    def _tick(self) -> None:
        while True:
            now = time.monotonic()
            if now - self.last_tick > self.settings.frozen_after:
                self.not_before = now
                self.doubt.set()
            self.last_tick = now
            time.sleep(self.settings.tick)

    def _sample(self) -> None:
        client = Client(self.settings, self.password, self.settings.sample_deadline)
        while True:
            before, self.sample = self.sample, self._take(client)
            if before is None or (before.members, before.problem) != (
                self.sample.members,
                self.sample.problem,
            ):
                self.doubt.set()
            time.sleep(self.settings.sample_every)

    def _take(self, client: Client) -> Sample:
        now = time.monotonic()
        try:
            state, online, members, drained, queue, writable, executed = client.run(SAMPLE)
        except (pymysql.MySQLError, OSError) as error:
            return Sample(now, problem=_short(error))
        view = tuple(tuple(pair.split("=", 1)) for pair in members.split(",") if pair)
        return Sample(
            now,
            state,
            int(online),
            bool(drained),
            int(queue),
            bool(writable),
            executed.replace("\n", ""),
            view,
        )

    def _prove(self) -> None:
        first = "SET SESSION group_replication_consistency = 'BEFORE'"
        client = Client(self.settings, self.password, self.settings.proof_deadline, first)
        while True:
            begun = time.monotonic()
            self.proof = self._try(client, begun)
            calm = not self.proof.problem and self.verdict().ready
            if self.doubt.wait(self.settings.prove_idle if calm else self.settings.prove_alert):
                self.doubt.clear()

    def _try(self, client: Client, begun: float) -> Proof:
        statement = "UPDATE yiyun_probe.proof SET count = count + 1, proved_at = CURRENT_TIMESTAMP(6) WHERE member = %s"
        try:
            client.run(statement, (self.settings.member,))
        except (pymysql.MySQLError, OSError) as error:
            return Proof(begun, time.monotonic() - begun, _short(error))
        return Proof(begun, time.monotonic() - begun)


def body_of(agent: Agent, verdict: Verdict) -> dict[str, Any]:
    """What both answers carry; ages in seconds."""
    now, sample, proof = time.monotonic(), agent.sample, agent.proof
    return {
        "member": agent.settings.member,
        "ready": verdict.ready,
        "reasons": list(verdict.reasons),
        "proof": None if proof is None else {**asdict(proof), "age": round(now - proof.begun, 3)},
        "sample": None
        if sample is None
        else {**asdict(sample), "members": dict(sample.members), "age": round(now - sample.at, 3)},
    }


class Server(ThreadingHTTPServer):
    """HTTP on the host's own address; a thread a question, none of which can hold up another."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        super().__init__((agent.settings.address, agent.settings.port), Answer)

    def server_bind(self) -> None:
        """Bind without the parent's reverse look-up of the address: there is no DNS to ask."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.agent.settings.address, self.agent.settings.port

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the parent's signature
        """A caller that hung up is no event."""


class Answer(BaseHTTPRequestHandler):
    """One question."""

    timeout = 2
    server: Server

    def do_GET(self) -> None:  # noqa: N802 - the parent's name
        """Answer / and /state."""
        verdict = self.server.agent.verdict()
        known = self.path in {"/", "/state"}
        code = 404 if not known else 200 if verdict.ready or self.path == "/state" else 503
        text = json.dumps(body_of(self.server.agent, verdict)).encode() if known else b"{}"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the parent's signature
        """Twenty questions a second are not news."""


def _or_die(work: Any) -> None:
    try:
        work()
    finally:
        os._exit(1)


def _short(error: BaseException) -> str:
    return " ".join(str(a) for a in error.args)[:200] or type(error).__name__


def main() -> int:
    """Entry point: the settings' file, and the password's file from systemd."""
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
    agent = Agent(settings, (folder / "password").read_text(encoding="utf-8").strip())
    server = Server(agent)
    agent.start()
    server.serve_forever()
    return 1


if __name__ == "__main__":
    sys.exit(main())
