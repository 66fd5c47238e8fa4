#!/usr/bin/python3
"""The laboratory system of the lab's hospital: a real database, and an HL7 v2 sender that loses nothing.

A message is written to the outbox in the transaction of its result, sent over MLLP, and marked sent only
after an AA whose MSA-2 is its MSH-10. Until then the very same bytes are sent again.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from lab_hospital_data import PANELS, Patient, Value, make_patient, make_results

CST = timezone(timedelta(hours=8))


def escape(text: str) -> str:
    r"""Escape HL7 delimiters in a field (\E\ first)."""
    for sign, name in (("\\", "E"), ("|", "F"), ("^", "S"), ("~", "R"), ("&", "T")):
        text = text.replace(sign, "\x00" if sign == "\\" else f"\\{name}\\")
    return text.replace("\x00", "\\E\\")


def split_name(name: str) -> str:
    """Return XPN family^given of a Chinese name with a one-letter surname."""
    return f"{escape(name[:1])}^{escape(name[1:])}"


def oru(
    config: Config,
    control_id: str,
    patient: Patient,
    order: int,
    panel: str,
    values: list[Value],
    at: datetime,
) -> bytes:
    """Return the ORU^R01 message of one order, UTF-8, segments ended by CR."""
    sent, taken = f"{at:%Y%m%d%H%M%S%z}", f"{at - timedelta(minutes=40):%Y%m%d%H%M%S%z}"
    head = f"MSH|^~\\&|{config.application}|{config.facility}|YIYUN|EDGE|{sent}||ORU^R01^ORU_R01|{control_id}"
    who = f"{patient.mrn}^^^{config.facility}^MR~{patient.id_number}^^^&2.16.156.10011.1.3&ISO^NI"
    service = f"{panel}^{escape(PANELS[panel][0])}^L"
    lines = [
        f"{head}|P|{config.version}||||||UNICODE UTF-8",
        f"PID|1||{who}||{split_name(patient.name)}||{patient.birth_date.replace('-', '')}|{patient.sex}",
        f"OBR|1|P{order:08d}|F{order:08d}|{service}|||{taken}|||||||||||||||{sent}|||F",
    ]
    lines += [
        f"OBX|{n}|{one.value_type}|{one.code}^{escape(one.name)}^L||{escape(one.value)}|{escape(one.unit)}"
        f"|{escape(one.reference_range)}|{one.flag}|||F|||{taken}"
        for n, one in enumerate(values, 1)
    ]
    return ("\r".join(lines) + "\r").encode("utf-8")


@dataclass(frozen=True)
class Config:
    """The configuration file (JSON). `dsn` reaches the database over the unix socket as the same user."""

    host: str
    port: int
    dsn: str = "dbname=lis"
    user: str = "lab-hospital"
    application: str = "LIS"
    facility: str = "HIS-1"
    version: str = "2.5.1"
    seed: int = 2026
    answer_timeout_s: float = 10.0

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read `path`. Raises ValueError with one line when it cannot be used."""
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error


class UnacknowledgedError(Exception):
    """The collector did not accept the message; the text says what it answered."""


class Link:
    """One MLLP connection to the collector, opened when needed."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._buffer = b""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def send(self, raw: bytes, control_id: str) -> None:
        """Send one message; return once it is acknowledged AA under its control id.

        An answer for another message (a late one) is passed over, never credited to this message.
        Raises OSError when the connection fails or nothing comes in time, UnacknowledgedError on AE or AR.
        """
        until = time.monotonic() + self._timeout_s
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=2)
            self._socket.sendall(b"\x0b" + raw + b"\x1c\r")
            while True:
                code, answered, text = parse_ack(self._frame(until))
                if answered == control_id:
                    break
        except OSError:
            self.close()
            raise
        if code != "AA":
            raise UnacknowledgedError(f"{code} {text}".strip())

    def _frame(self, until: float) -> bytes:
        assert self._socket is not None  # noqa: S101 - narrows the type; send() opened it
        while b"\x1c\r" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("no acknowledgement in time")
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("closed by the collector")
            self._buffer += data
        frame, _, self._buffer = self._buffer.partition(b"\x1c\r")
        return frame.partition(b"\x0b")[2]


def parse_ack(frame: bytes) -> tuple[str, str, str]:
    """Return MSA-1, MSA-2 and MSA-3 of an acknowledgement; empty texts when it has no MSA."""
    text = frame.decode("utf-8", "replace")
    for line in text.split("\r"):
        if line.startswith("MSA|"):
            fields = [*line.split("|"), "", "", ""]
            return fields[1], fields[2], fields[3]
    return "", "", ""


class Outbox(Protocol):
    """What the sender needs of the database."""

    def pending(self, limit: int) -> list[tuple[int, str, bytes]]:
        """Return (id, control id, message) not acknowledged yet, oldest first."""
        ...

    def sent(self, identity: int) -> None:
        """Mark a message acknowledged."""
        ...

    def failed(self, identity: int, reason: str) -> None:
        """Count a failed attempt."""
        ...


def send_pending(outbox: Outbox, link: Link, stop: threading.Event) -> int:
    """Send what is pending in order, one by one; stop at the first failure. Returns how many went."""
    done = 0
    for identity, control_id, raw in outbox.pending(200):
        if stop.is_set():
            break
        try:
            link.send(raw, control_id)
        except (OSError, UnacknowledgedError) as error:
            outbox.failed(identity, f"{type(error).__name__}: {error}"[:200])
            return done
        outbox.sent(identity)
        done += 1
    return done


_SCHEMA = """
CREATE TABLE IF NOT EXISTS patient (
    mrn text PRIMARY KEY, id_number text NOT NULL UNIQUE CHECK (length(id_number) = 18),
    name text NOT NULL, sex text NOT NULL CHECK (sex IN ('M', 'F')), birth_date date NOT NULL);
CREATE TABLE IF NOT EXISTS lab_order (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mrn text NOT NULL REFERENCES patient,
    panel text NOT NULL, reported_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS lab_result (
    order_id bigint NOT NULL REFERENCES lab_order, set_id int NOT NULL,
    code text NOT NULL, name text NOT NULL, value_type text NOT NULL,
    value text NOT NULL, unit text NOT NULL, reference_range text NOT NULL,
    flag text NOT NULL, PRIMARY KEY (order_id, set_id));
CREATE TABLE IF NOT EXISTS outbox (
    id bigint PRIMARY KEY REFERENCES lab_order, control_id text NOT NULL UNIQUE, message bytea NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT now(), attempts int NOT NULL DEFAULT 0, last_error text,
    sent_at timestamptz);
CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (id) WHERE sent_at IS NULL;
"""


class Laboratory:
    """The laboratory's database."""

    def __init__(self, config: Config) -> None:
        psycopg: Any = import_module("psycopg")
        self._config = config
        self._db: Any = psycopg.connect(config.dsn, autocommit=True)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def prepare(self, patients: int, results: int) -> dict[str, int]:
        """Make the schema and fill up to `patients` people and `results` orders; returns what was added."""
        with self._db.transaction():
            if self._db.execute("SELECT to_regclass('outbox')").fetchone()[0] is None:
                self._db.execute(_SCHEMA)
            people = self._add_patients(patients)
            missing = results - int(self._db.execute("SELECT count(*) FROM lab_order").fetchone()[0])
            for _ in range(max(0, missing)):
                self._add_order(None)
        return {"patients": people, "results": max(0, missing)}

    def _add_patients(self, wanted: int) -> int:
        have = int(self._db.execute("SELECT count(*) FROM patient").fetchone()[0])
        rows = [asdict(make_patient(self._config.seed, number)) for number in range(have + 1, wanted + 1)]
        with self._db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO patient VALUES (%(mrn)s, %(id_number)s, %(name)s, %(sex)s, %(birth_date)s)", rows
            )
        return len(rows)

    def new(self, count: int, mrn: str | None) -> list[dict[str, Any]]:
        """Insert `count` new orders with results and messages, all or none; returns what was made.

        Raises LookupError when there is no such patient (by record number or identity number).
        """
        with self._db.transaction():
            return [self._add_order(mrn) for _ in range(count)]

    def _patient(self, mrn: str | None, order: int) -> Patient:
        columns = "SELECT mrn, id_number, name, sex, birth_date::text FROM patient"
        if mrn is None:
            people = int(self._db.execute("SELECT count(*) FROM patient").fetchone()[0])
            row = self._db.execute(
                f"{columns} ORDER BY mrn OFFSET %s LIMIT 1", (order % max(1, people),)
            ).fetchone()
        else:
            row = self._db.execute(f"{columns} WHERE mrn = %s OR id_number = %s", (mrn, mrn)).fetchone()
        if row is None:
            raise LookupError(f"no patient {mrn}" if mrn else "no patients yet; run `lab-hospital prepare`")
        return Patient(*row)

    def _add_order(self, mrn: str | None) -> dict[str, Any]:
        at = datetime.now(CST).replace(microsecond=0)
        order = int(
            self._db.execute("SELECT nextval(pg_get_serial_sequence('lab_order', 'id'))").fetchone()[0]
        )
        patient = self._patient(mrn, order)
        panel, values = make_results(self._config.seed, order)
        control_id = f"{self._config.facility}-{order:010d}"
        self._db.execute(
            "INSERT INTO lab_order OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s)",
            (order, patient.mrn, panel, at),
        )
        with self._db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO lab_result VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [(order, n, *asdict(one).values()) for n, one in enumerate(values, 1)],
            )
        message = oru(self._config, control_id, patient, order, panel, values, at)
        self._db.execute(
            "INSERT INTO outbox (id, control_id, message) VALUES (%s, %s, %s)", (order, control_id, message)
        )
        return {
            "order": order, "control_id": control_id, "panel": panel, "reported_at": at.isoformat(),
            "patient": asdict(patient), "results": [asdict(one) for one in values],
        }  # fmt: skip

    def status(self) -> dict[str, Any]:
        """Return counts, the oldest pending message and the last error."""
        pending, sent, oldest, last, attempts = self._db.execute(
            "SELECT count(*) FILTER (WHERE sent_at IS NULL), count(sent_at),"
            " min(queued_at) FILTER (WHERE sent_at IS NULL), max(sent_at), coalesce(sum(attempts), 0)"
            " FROM outbox"
        ).fetchone()
        error = self._db.execute(
            "SELECT last_error FROM outbox WHERE sent_at IS NULL AND last_error IS NOT NULL"
            " ORDER BY id LIMIT 1"
        ).fetchone()
        return {
            "patients": int(self._db.execute("SELECT count(*) FROM patient").fetchone()[0]),
            "pending": int(pending), "sent": int(sent), "attempts": int(attempts),
            "oldest_pending_at": oldest and oldest.isoformat(), "last_sent_at": last and last.isoformat(),
            "last_error": error and error[0],
        }  # fmt: skip

    def pending(self, limit: int) -> list[tuple[int, str, bytes]]:
        """Return (id, control id, message) not acknowledged yet, oldest first."""
        rows = self._db.execute(
            "SELECT id, control_id, message FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT %s", (limit,)
        )
        return [(int(identity), str(control_id), bytes(message)) for identity, control_id, message in rows]

    def sent(self, identity: int) -> None:
        """Mark a message acknowledged."""
        self._db.execute(
            "UPDATE outbox SET sent_at = now(), attempts = attempts + 1, last_error = NULL WHERE id = %s",
            (identity,),
        )

    def failed(self, identity: int, reason: str) -> None:
        """Count a failed attempt."""
        self._db.execute(
            "UPDATE outbox SET attempts = attempts + 1, last_error = %s WHERE id = %s", (reason, identity)
        )


def serve(config: Config) -> int:
    """Send from the outbox until SIGTERM. Waits longer after each failure in a row, at most 2 s."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    laboratory, link = Laboratory(config), Link(config.host, config.port, config.answer_timeout_s)
    failures = 0
    while not stop.is_set():
        waiting = bool(laboratory.pending(1))
        done = send_pending(laboratory, link, stop) if waiting else 0
        failures = failures + 1 if waiting and not done else 0
        if not done:
            stop.wait(min(2.0, 0.2 * 2 ** min(failures, 5)))
    link.close()
    laboratory.close()
    return 0


def wait(laboratory: Laboratory, timeout_s: float) -> bool:
    """Wait until nothing is pending; False when the time is over first."""
    until = time.monotonic() + timeout_s
    pause = threading.Event()
    while laboratory.status()["pending"]:
        if time.monotonic() > until:
            return False
        pause.wait(0.1)
    return True


def become(user: str) -> None:
    """As root, become the laboratory's user: the database knows people by their system user."""
    if os.geteuid() != 0:
        return
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab-hospital", description="The laboratory of the lab's hospital.")
    parser.add_argument("--config", type=Path, default=Path("/etc/lab-hospital.json"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    prepare = verbs.add_parser("prepare", help="make the schema, fill in people and first results")
    prepare.add_argument("--patients", type=int, default=200)
    prepare.add_argument("--results", type=int, default=20)
    new = verbs.add_parser("new", help="new results, queued to be sent")
    new.add_argument("--count", type=int, default=1)
    new.add_argument("--patient", help="record number or identity number; anybody when left out")
    verbs.add_parser("status", help="pending and sent")
    waiting = verbs.add_parser("wait", help="until nothing is pending")
    waiting.add_argument("--timeout", type=float, default=60.0)
    verbs.add_parser("serve", help="send from the outbox (the service)")
    for verb in ("prepare", "new", "status", "wait"):
        verbs.choices[verb].add_argument(
            "--json", action="store_true", help="accepted for clarity: output is JSON"
        )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Exit codes: 0 fine, 1 failed or time over, 4 bad configuration or no such patient."""
    options = _parser().parse_args(arguments)
    try:
        config = Config.load(options.config)
        become(config.user)
        if options.verb == "serve":
            return serve(config)
        laboratory = Laboratory(config)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for the person
        return 4
    try:
        return _run(options, laboratory)
    except LookupError as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for the person
        return 4
    finally:
        laboratory.close()


def _run(options: argparse.Namespace, laboratory: Laboratory) -> int:
    fine, found = True, {}
    if options.verb == "prepare":
        found = laboratory.prepare(options.patients, options.results)
    elif options.verb == "new":
        found = {"count": options.count, "orders": laboratory.new(options.count, options.patient)}
    else:
        fine = wait(laboratory, options.timeout) if options.verb == "wait" else True
        found = laboratory.status()
    print(json.dumps(found, ensure_ascii=False))  # noqa: T201 - the result
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
