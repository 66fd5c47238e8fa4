#!/usr/bin/python3
"""Says over HTTP whether this MySQL member may be the writer; its last word is a commit.

A member's own tables lie: for seconds after a thaw, and for as long as a quorum is lost. So besides the
tables (state, majority, read-only) two proofs count, each in a thread of its own, answered from its last
success with its age:

- the *barrier*: a read that waits until everything acknowledged so far is applied here, which needs the
  others' agreement but writes nothing. So it may run often, and it tells a member that is cut off, or behind,
  at once. (A look at the queue alone would not do: it is empty on a member that receives nothing, and not
  empty for a moment on every healthy one.) For five seconds after a member has fallen silent the whole group
  agrees two to four times a second only, as it waits for that member's turn each time: a barrier then needs
  0.05 to 0.45 s on members that are well. So several of them are under way at once, each begun a moment after
  the one before: how long one takes does not decide how fresh the newest is.
- the *commit*: an update of this member's row in a probe table, after such a barrier. It shows that the
  member can really take a write; it waits for the disk, so its deadline is longer, and it runs seldom,
  because each one is a transaction of the whole group.

A proof fails when no success is young enough: one that is late does not matter when the next one is in time.
Who asks waits as long as it takes: a server that waits for its group keeps the session whatever the client
does (neither KILL nor `max_execution_time` ends it), and new ones would fill it up within half a minute.

It also greets the other members' hosts, so that this host hears of each that is there: see yiyun-group-fence.
`GET /` is 200 or 503, `GET /state` always 200 with the same body for screens.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

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
    connect_deadline: float = 1.0
    sample_every: float = 0.1
    barrier_every: float = 0.15
    barrier_deadline: float = 0.7
    barrier_max_age: float = 0.9
    barrier_max_age_short: float = 6.0
    """While a member is away. The group stands still when it joins, tables and all; and there is nobody to
    switch to anyway: of two members that lose each other neither may write."""
    commit_every: float = 1.0
    commit_deadline: float = 2.0
    commit_max_age: float = 4.0
    retry_every: float = 0.05
    sample_max_age: float = 0.6
    sample_max_age_short: float = 6.0
    frozen_after: float = 1.0
    tick: float = 0.05
    peers: tuple[str, ...] = ()
    """Addresses of the other members' hosts, where an agent listens at the same port."""
    greet_every: float = 0.5
    given_up: str = ""
    """File of the members that an operator has given up for good (`yiyun-mysql-group converge --without`)."""

    @property
    def barriers(self) -> int:
        """How many barriers may be under way at once, so that one begins in time whatever those before do."""
        return math.ceil(self.barrier_deadline / self.barrier_every)


@dataclass(frozen=True)
class Sample:
    """What the member's own tables said, and when (monotonic seconds)."""

    at: float
    state: str = "OFFLINE"
    online: int = 0
    role: str = ""
    """`SECONDARY`: of a group that has elected another member its only primary."""
    drained: bool = False
    queue: int = 0
    writable: bool = False
    gtid_executed: str = ""
    members: tuple[tuple[str, str], ...] = ()
    given_up: int = 0
    """How many of the configured members an operator has given up."""
    problem: str = ""


@dataclass(frozen=True)
class Proof:
    """The last success of a proof (`begun`: monotonic seconds, 0 = never) and a failure since.

    Of a single try: `problem` is empty when it succeeded.
    """

    begun: float = 0.0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the member may be the writer, and every reason why not.

    `standby`: nothing is against it but that its group has elected another.
    """

    ready: bool
    reasons: tuple[str, ...] = ()
    standby: bool = False


@dataclass(frozen=True)
class Known:
    """Everything the agent knows at one moment.

    `last_tick`: when its own loop last ran; a gap means that the host was frozen and everything known is old.
    `not_before`: a proof must have begun after this to count.
    """

    sample: Sample | None
    barrier: Proof
    commit: Proof
    last_tick: float
    not_before: float = 0.0


def judge(settings: Settings, now: float, known: Known) -> Verdict:
    """Whether the member may be the writer, at monotonic time `now`."""
    reasons: list[str] = []
    sample = known.sample
    if now - known.last_tick > settings.frozen_after:
        reasons.append(f"this host stood still for {now - known.last_tick:.1f} s")
    sample_age, barrier_age = ages(settings, sample)
    if sample is None or now - sample.at > sample_age:
        reasons.append("the member has not answered" if sample is None else "its last answer is too old")
    else:
        reasons += sample_reasons(settings, sample)
    reasons += proof_reasons("barrier", known.barrier, now - barrier_age, known.not_before)
    standby = not reasons and sample is not None and sample.role == "SECONDARY"
    if sample is not None and not sample.problem and not sample.writable:
        reasons.append("the member is read-only")
    reasons += proof_reasons("commit", known.commit, now - settings.commit_max_age, known.not_before)
    return Verdict(not reasons, tuple(reasons), standby)


def ages(settings: Settings, sample: Sample | None) -> tuple[float, float]:
    """How old the tables' answer and a barrier may be, seconds."""
    if sample is not None and sample.online < settings.configured:
        return settings.sample_max_age_short, settings.barrier_max_age_short
    return settings.sample_max_age, settings.barrier_max_age


def sample_reasons(settings: Settings, sample: Sample) -> list[str]:
    """Why the member's own tables say no."""
    if sample.problem:
        return [f"the member does not answer: {sample.problem}"]
    needed = max(1, settings.configured - sample.given_up) // 2 + 1
    checks = [
        (sample.state == "ONLINE", f"the member is {sample.state}"),
        (
            sample.online >= needed,
            f"{sample.online} of {settings.configured} members are ONLINE, not {needed}",
        ),
    ]
    return [text for holds, text in checks if not holds]


def proof_reasons(name: str, proof: Proof, oldest: float, not_before: float) -> list[str]:
    """Why a proof does not count: it must have begun after `oldest` and after `not_before`."""
    why = f" ({proof.problem})" if proof.problem else ""
    if not proof.begun:
        return [f"no {name} has succeeded yet{why}"]
    if proof.begun <= not_before:
        return [f"the last {name} is from before a doubt{why}"]
    if proof.begun < oldest:
        return [f"the last {name} is too old{why}"]
    return []


SAMPLE = """
SELECT COALESCE(MAX(IF(member_id = @@server_uuid, member_state, NULL)), 'OFFLINE'),
       COALESCE(MAX(IF(member_id = @@server_uuid, member_role, NULL)), ''),
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

    def __init__(self, settings: Settings, password: Path, first: str = "") -> None:
        self._settings, self._password, self._first = settings, password, first
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
        """Drop the connection without a word to the server: it may not be listening.

        pymysql has no public way to close without a QUIT.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()

    def _open(self) -> Any:
        return pymysql.connect(
            unix_socket=self._settings.socket,
            user=self._settings.user,
            password=self._password.read_text(encoding="utf-8").strip(),
            connect_timeout=self._settings.connect_deadline,
            init_command=self._first or None,
            autocommit=True,
        )


# It must name a table: a statement without one is not held up by the group.
BARRIER = "SELECT count FROM yiyun_probe.proof WHERE member = %s"
COMMIT = "UPDATE yiyun_probe.proof SET count = count + 1, proved_at = CURRENT_TIMESTAMP(6) WHERE member = %s"
WAIT_FOR_ALL = "SET SESSION group_replication_consistency = 'BEFORE'"


@dataclass
class Agent:
    """The threads and what they last saw."""

    settings: Settings
    password: Path
    """The password's file, read for each new connection: it may be replaced at any time."""
    sample: Sample | None = None
    barrier: Proof = field(default_factory=Proof)
    commit: Proof = field(default_factory=Proof)
    last_tick: float = field(default_factory=time.monotonic)
    not_before: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def verdict(self) -> Verdict:
        """The verdict of this moment."""
        known = Known(self.sample, self.barrier, self.commit, self.last_tick, self.not_before)
        return judge(self.settings, time.monotonic(), known)

    def start(self) -> None:
        """Start the threads; if one of them ends, so does the process, and systemd starts it anew."""
        barriers = [partial(self._barrier, place) for place in range(self.settings.barriers)]
        greetings = [partial(self._greet, peer) for peer in self.settings.peers]
        for work in (self._tick, self._sample, *barriers, self._commit, *greetings):
            threading.Thread(target=_or_die, args=(work,), daemon=True).start()

    def _tick(self) -> None:
        said: bool | None = None
        while True:
            now = time.monotonic()
            if now - self.last_tick > self.settings.frozen_after:
                self.not_before = now
            self.last_tick = now
            said = self._told(said)
            time.sleep(self.settings.tick)

    def _told(self, said: bool | None) -> bool:
        """One line in the journal whenever the verdict changes: why a router saw what it saw."""
        verdict = self.verdict()
        if verdict.ready is not said:
            text = "may be the writer" if verdict.ready else f"may not: {'; '.join(verdict.reasons)}"
            sys.stderr.write(f"{self.settings.member} {text}\n")
        return verdict.ready

    def _sample(self) -> None:
        client = Client(self.settings, self.password)
        while True:
            self.sample = self._take(client)
            time.sleep(self.settings.sample_every)

    def _take(self, client: Client) -> Sample:
        now = time.monotonic()
        try:
            state, role, online, members, drained, queue, writable, executed = client.run(SAMPLE)
        except (pymysql.MySQLError, OSError) as error:
            return Sample(now, problem=_short(error))
        view = tuple(tuple(pair.split("=", 1)) for pair in members.split(",") if pair)
        return Sample(
            at=now,
            state=state,
            online=int(online),
            role=role,
            drained=bool(drained),
            queue=int(queue),
            writable=bool(writable),
            gtid_executed=executed.replace("\n", ""),
            members=view,
            given_up=self._given_up(),
        )

    def _given_up(self) -> int:
        """Without the file, or while it is written: nobody."""
        try:
            return len(set(json.loads(Path(self.settings.given_up).read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            return 0

    def _barrier(self, place: int) -> None:
        """One of several that take turns; `place`: its own, from 0."""
        settings = self.settings
        client = Client(settings, self.password, WAIT_FOR_ALL)
        turns = settings.barriers * settings.barrier_every
        due = time.monotonic() + place * settings.barrier_every
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            tried = prove(client, BARRIER, (settings.member,), settings.barrier_deadline)
            with self._lock:
                self.barrier = after(self.barrier, tried)
            due = next_turn(due, turns, time.monotonic())

    def _commit(self) -> None:
        settings = self.settings
        client = Client(settings, self.password, WAIT_FOR_ALL)
        while True:
            tried = prove(client, COMMIT, (settings.member,), settings.commit_deadline)
            self.commit = after(self.commit, tried)
            doubted = self.commit.problem or self.commit.begun <= self.not_before
            time.sleep(settings.retry_every if doubted else settings.commit_every)

    def _greet(self, peer: str) -> None:
        """Its host's answer counts, a refusal too: it came back over the network."""
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((peer, self.settings.port), self.settings.greet_every).close()
            time.sleep(self.settings.greet_every)


def next_turn(due: float, turns: float, now: float) -> float:
    """When the next turn is due: turns that were missed are left out, so that each keeps its distance."""
    missed = max(0, math.ceil((now - due) / turns) - 1)
    return due + (missed + 1) * turns


def prove(client: Client, statement: str, arguments: tuple[str, ...], deadline: float) -> Proof:
    """Try once. A success past its deadline (a thaw) is a failure."""
    begun = time.monotonic()
    try:
        client.run(statement, arguments)
    except (pymysql.MySQLError, OSError) as error:
        return Proof(begun, problem=_short(error))
    seconds = time.monotonic() - begun
    return Proof(begun, seconds, f"it took {seconds:.2f} s" if seconds > deadline else "")


def after(last: Proof, tried: Proof) -> Proof:
    """What is known after a try: the newest success that began, and what failed since."""
    if tried.begun < last.begun:
        return last
    return replace(last, problem=tried.problem) if tried.problem else tried


def body_of(agent: Agent, verdict: Verdict) -> dict[str, Any]:
    """What both answers carry; ages in seconds."""
    now, sample = time.monotonic(), agent.sample
    proofs = {
        name: {
            "age": round(now - p.begun, 3) if p.begun else None,
            "seconds": p.seconds,
            "problem": p.problem,
        }
        for name, p in (("barrier", agent.barrier), ("commit", agent.commit))
    }
    return {
        "member": agent.settings.member,
        "ready": verdict.ready,
        "standby": verdict.standby,
        "reasons": list(verdict.reasons),
        **proofs,
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no event."""


class Answer(BaseHTTPRequestHandler):
    """One question."""

    timeout = 2

    def do_GET(self) -> None:
        """Answer / and /state."""
        agent = cast("Server", self.server).agent
        verdict = agent.verdict()
        known = self.path in {"/", "/state"}
        code = 404 if not known else 200 if verdict.ready or self.path == "/state" else 503
        text = json.dumps(body_of(agent, verdict)).encode() if known else b"{}"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's signature
        """Twenty questions a second are not news."""


def _or_die(work: Any) -> None:
    try:
        work()
    finally:
        os._exit(1)


def _short(error: BaseException) -> str:
    return " ".join(str(a) for a in error.args)[:200] or type(error).__name__


def main() -> int:
    """Entry point: the settings' file, and the password's file."""
    read = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    settings = Settings(**read | {"peers": tuple(read.get("peers", []))})
    agent = Agent(settings, Path(sys.argv[2]))
    server = Server(agent)
    agent.start()
    server.serve_forever()
    return 1


if __name__ == "__main__":
    sys.exit(main())
