"""Who uses the platform in a drill: an account and residents that exist for it alone, and go with it.

Their record numbers begin with a county code that GB/T 2260 does not have (its codes begin with 1 to 8), so
the platform never gives one to a person; their name says what they are. What stays: who read which record, as
audit records do, and the files, a few dozen bytes each, which no row names any more: no key of a host may
delete in the store (decision 0014), and a drill does not borrow its owner's.

A resident whose results come from the premises has a number at the drill's own facility, by which the
platform finds it. A message that came after `leave` would find nobody, and the platform would open a record
for it, under that same name: `leave` removes those too.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.drivers.lab.hosts import run_in_host
from infra.errors import YiyunError
from runbooks.drills.evidence.history import Held
from runbooks.drills.evidence.members import asked, held_by

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

ACCOUNT = "yiyun-drill"
NAME = "演练专用（非居民）"
NAMESPACE = "000000999000"
"""The first twelve digits of the residents' record numbers: county, township, village."""
SETTINGS = "/etc/yiyun-app/app.env"
_OURS = f"record_number LIKE '{NAMESPACE}%'"
ENTER = f"""set -a; . {SETTINGS}; set +a
exec /opt/yiyun-app/current/venv/bin/yiyun-app user set --username {ACCOUNT} --role operator \
--display-name '{NAME}'"""
"""The platform's own command; the password comes on standard input."""
FILES = """
import concurrent.futures, hashlib, json, os, sys, time
settings = dict(line.strip().split("=", 1) for line in open(sys.argv[1]) if "=" in line)
folder = settings["YIYUN_APP_ATTACHMENTS_FOLDER"]
if settings.get("YIYUN_APP_ATTACHMENTS_MOUNTED") != "false" and not os.path.ismount(folder):
    sys.exit(folder + " is not mounted")
def right(key, digest):
    try:
        with open(os.path.join(folder, key[:2], key[2:4], key[4:]), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == digest
    except FileNotFoundError:
        return False
def bad(rows):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return [row for row, good in zip(rows, pool.map(lambda row: right(*row), rows)) if not good]
left = bad(json.load(sys.stdin))
if left:
    time.sleep(float(sys.argv[2]))
    left = bad(left)
print(json.dumps([key for key, _ in left]))
"""
"""Run at an app host: which files (key, SHA-256) are not in the store as they were sent. It looks twice, as a
host may see another's file a few seconds late."""
SEEN_SECONDS = "4"
FILES_SECONDS = 300
HELD = f"""START TRANSACTION READ ONLY;
SELECT JSON_OBJECT(
  'gtid_set', REPLACE(@@GLOBAL.gtid_executed, '\\n', ''),
  'rows', (SELECT JSON_ARRAYAGG(JSON_ARRAY(record_number, file_name, storage_key, LOWER(HEX(sha256))))
           FROM yiyun.attachment WHERE {_OURS}))"""  # noqa: S608  constants of this file only
_GUESTS = f"(r.record_number LIKE '{NAMESPACE}%' OR (r.name = '{NAME}' AND r.id_card_index IS NULL))"
SINCE = f"(SELECT MIN(r.created_at) FROM yiyun.resident r WHERE {_GUESTS}) - INTERVAL 1 HOUR"  # noqa: S608
"""Nothing about the drill's residents is older; the hour is for hosts whose clocks differ."""
LEAVE = f"""USE yiyun;
START TRANSACTION;
DELETE v FROM yiyun.resident r JOIN yiyun.observation o ON o.record_number = r.record_number
  JOIN yiyun.observation_version v ON v.observation_id = o.id WHERE {_GUESTS};
DELETE o FROM yiyun.resident r JOIN yiyun.observation o ON o.record_number = r.record_number
  WHERE {_GUESTS};
DELETE a FROM yiyun.resident r JOIN yiyun.attachment a ON a.record_number = r.record_number
  WHERE {_GUESTS};
DELETE i FROM yiyun.resident r JOIN yiyun.resident_identifier i ON i.record_number = r.record_number
  WHERE {_GUESTS};
DELETE k FROM yiyun.idempotency_key k WHERE k.created_at >= {SINCE}
  AND JSON_VALUE(k.answer, '$.resident') IN (SELECT r.record_number FROM yiyun.resident r WHERE {_GUESTS});
DELETE r FROM yiyun.resident r WHERE {_GUESTS};
DELETE FROM yiyun.idempotency_key WHERE client = 'staff:{ACCOUNT}';
DELETE FROM yiyun.login_session WHERE username = '{ACCOUNT}';
DELETE FROM yiyun.staff_user WHERE username = '{ACCOUNT}';
COMMIT"""  # noqa: S608  constants of this file only
"""An idempotency key goes when the answer stored under it is about a resident of the drill: no other key of
the same sender does. A DELETE over several tables needs a default database (error 1046, MySQL 9.7)."""


@dataclass(frozen=True)
class Admitted:
    """The drill's account and its residents' record numbers, one a client."""

    password: str
    residents: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Admitted({len(self.residents)} residents)"


def record_numbers(count: int) -> tuple[str, ...]:
    """Record numbers of the drill's residents: 17 digits, as the platform demands."""
    return tuple(f"{NAMESPACE}{number:05d}" for number in range(1, count + 1))


def admission(numbers: Sequence[str]) -> str:
    """The statement that makes the residents."""
    moment = "UTC_TIMESTAMP(6)"
    rows = ", ".join(f"('{n}', '{NAME}', '', 'unknown', {moment}, {moment})" for n in numbers)
    columns = "record_number, name, pinyin_initials, gender, created_at, changed_at"
    return f"INSERT INTO yiyun.resident ({columns}) VALUES {rows}"  # noqa: S608  numbers made here


def admit(estate: Estate, paths: EstatePaths, count: int) -> Admitted:
    """Make the account, with a password of its own, and `count` residents; what was left before goes first.

    Raises YiyunError.
    """
    leave(estate, paths)
    password = secrets.token_urlsafe(24)
    _at_an_app_host(estate, paths, ["sh", "-c", ENTER], stdin=f"{password}\n")
    numbers = record_numbers(count)
    asked(paths, _writer(estate, paths), admission(numbers))
    return Admitted(password, numbers)


def admit_patients(estate: Estate, paths: EstatePaths, count: int, system: str) -> tuple[str, ...]:
    """Make `count` residents that a facility knows by their record numbers; nobody signs in.

    `system`: of the facility's numbers. What was left before goes first. Returns the record numbers. Raises
    YiyunError.
    """
    leave(estate, paths)
    numbers = record_numbers(count)
    writer = _writer(estate, paths)
    asked(paths, writer, admission(numbers))
    asked(paths, writer, links(numbers, system))
    return numbers


def links(numbers: Sequence[str], system: str) -> str:
    """The statement by which a facility's messages find the residents."""
    rows = ", ".join(f"('{system}', '{n}', '{n}')" for n in numbers)
    return f"INSERT INTO yiyun.resident_identifier (`system`, value, record_number) VALUES {rows}"  # noqa: S608


def leave(estate: Estate, paths: EstatePaths) -> None:
    """Remove the account, its residents and what they have; fine when there are none. Raises YiyunError."""
    asked(paths, _writer(estate, paths), LEAVE)


def held(estate: Estate, paths: EstatePaths) -> list[Held]:
    """What every database member holds of the drill's files, less those that the store does not have.

    Raises YiyunError.
    """
    at_writer = asked(paths, _writer(estate, paths), HELD)["rows"] or []
    damaged = frozenset(_damaged(estate, paths, at_writer))
    return held_by(
        paths,
        [h.name for h in estate.hosts_with("db")],
        lambda where, member: as_held(member, asked(where, member, HELD), damaged),
    )


def as_held(member: str, data: dict[str, Any], damaged: Collection[str]) -> Held:
    """A member's rows as the checkers know them: a resident is a list, a file an element. Pure."""
    stored = [
        (record_number, str(file_name).removesuffix(".pdf"))
        for record_number, file_name, storage_key, _ in data["rows"] or []
        if storage_key not in damaged
    ]
    return held_elements(member, data["gtid_set"], stored)


def held_elements(member: str, gtid_set: str, stored: Iterable[tuple[str, str]]) -> Held:
    """What a member holds of residents. `stored`: record number and element, once for each copy. Pure.

    Elements stand in the order of their numbers, as the platform promises none. What is none of the
    workload's is there as -1, which nobody wrote.
    """
    lists: dict[str, list[int]] = {}
    for record_number, text in stored:
        listed = lists.setdefault(f"list-{int(record_number[len(NAMESPACE) :]) - 1}", [])
        listed.append(int(text) if text.isdecimal() else -1)
    ordered = {name: sorted(elements) for name, elements in sorted(lists.items())}
    return Held(member=member, gtid_set=gtid_set, lists=ordered, registers={}, total=0)


def _damaged(estate: Estate, paths: EstatePaths, rows: Sequence[Sequence[str]]) -> list[str]:
    keys = json.dumps([[key, digest] for _, _, key, digest in rows])
    argv = ["python3", "-c", FILES, SETTINGS, SEEN_SECONDS]
    said = _at_an_app_host(estate, paths, argv, stdin=keys, seconds=FILES_SECONDS)
    return [str(key) for key in json.loads(said)]


def _writer(estate: Estate, paths: EstatePaths) -> str:
    writer = json.loads(_at_an_app_host(estate, paths, ["yiyun-db-writer"]))["writer"]
    if not writer:
        raise YiyunError("no router has a writer", hint="yiyun status")
    return str(writer)


def _at_an_app_host(
    estate: Estate, paths: EstatePaths, argv: Sequence[str], *, stdin: str = "", seconds: float = 60
) -> str:
    """What a program says at the first app host where it succeeds. Raises YiyunError, the last complaint."""
    said = "the estate has no app host"
    for host in estate.hosts_with("app"):
        try:
            done = run_in_host(paths, host.name, argv, stdin=stdin, timeout=seconds)
        except YiyunError as error:
            said = error.message
            continue
        if done.returncode == 0:
            return done.stdout
        said = f"{host.name}: {done.stderr.strip()[-200:]}"
    raise YiyunError(f"the drill's account at the platform: {said}", hint="yiyun status")
