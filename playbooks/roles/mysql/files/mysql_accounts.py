"""Accounts and schemas as wanted against as they are: the difference, and carrying it out.

Everything here is replicated, so it is done once, on a member that serves. Statements that carry a password
are never shown: what is reported names the account only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mysql_passwords import statements


@dataclass(frozen=True)
class Account:
    """One user, the hosts it may come from, and its rights: `PRIVILEGES ON object`, as SHOW GRANTS has it."""

    user: str
    hosts: tuple[str, ...]
    passwords: tuple[str, ...] = field(repr=False)
    """What it accepts: two while the password is being replaced, the current one first."""
    grants: tuple[str, ...] = ()
    require_ssl: bool = True


@dataclass(frozen=True)
class Stored:
    """An account as the server has it: its rights, and what is stored of its password and of an older one."""

    grants: frozenset[str] = frozenset()
    first: bytes = b""
    second: bytes = b""


@dataclass(frozen=True)
class Wanted:
    """Schemas (name → collation), accounts, and the members that have a row in the probe table."""

    schemas: dict[str, str]
    accounts: tuple[Account, ...]
    probe: tuple[str, ...]
    logins: tuple[Account, ...] = ()
    """Accounts that every member had from the beginning: only their passwords are looked at."""

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Wanted:
        """From the JSON object on stdin. Raises TypeError or KeyError when a part is missing."""
        accounts, logins = (tuple(_account(a) for a in raw[part]) for part in ("accounts", "logins"))
        return cls(dict(raw["schemas"]), accounts, tuple(raw["probe"]), logins)


def _account(raw: dict[str, Any]) -> Account:
    return Account(
        user=raw["user"],
        hosts=tuple(raw["hosts"]),
        passwords=tuple(raw["passwords"]),
        grants=tuple(raw.get("grants", ())),
        require_ssl=raw.get("require_ssl", True),
    )


@dataclass(frozen=True)
class Change:
    """A statement with its arguments, and the sentence that may be shown."""

    text: str
    statement: str
    arguments: tuple[str, ...] = ()


PROBE_TABLE = (
    "CREATE TABLE yiyun_probe.proof (member VARCHAR(64) CHARACTER SET ascii NOT NULL PRIMARY KEY,"
    " proved_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), count BIGINT UNSIGNED NOT NULL DEFAULT 0)"
    " COMMENT 'one row a member, updated by its health agent: the proof that it can commit'"
)


def account_changes(account: Account, existing: dict[str, Stored]) -> list[Change]:
    """What one account lacks or has too much. `existing`: host → what is stored of that user's accounts."""
    changes: list[Change] = []
    for host in account.hosts:
        name = f"`{account.user}`@`{host}`"
        if host not in existing:
            require = "SSL" if account.require_ssl else "NONE"
            statement = f"CREATE USER {name} IDENTIFIED BY %s REQUIRE {require}"
            changes.append(Change(f"account {name}", statement, account.passwords[-1:]))
            if len(account.passwords) > 1:
                retain = f"ALTER USER {name} IDENTIFIED BY %s RETAIN CURRENT PASSWORD"
                changes.append(Change(f"second password of {name}", retain, account.passwords[:1]))
        else:
            changes += password_changes(account, host, existing[host])
        held = existing.get(host, Stored()).grants
        missing = [grant for grant in account.grants if grant not in held]
        surplus = sorted(held - set(account.grants))
        changes += [Change(f"{name} may {grant}", f"GRANT {grant} TO {name}") for grant in missing]
        changes += [Change(f"{name} no longer {grant}", f"REVOKE {grant} FROM {name}") for grant in surplus]
    changes += [
        Change(f"no account `{account.user}`@`{host}`", f"DROP USER `{account.user}`@`{host}`")
        for host in sorted(existing.keys() - set(account.hosts))
    ]
    # Rights are taken before others are given: both may name the same object.
    return sorted(changes, key=lambda change: change.statement.startswith("GRANT"))


def password_changes(account: Account, host: str, stored: Stored) -> list[Change]:
    """What makes an existing account accept exactly its passwords."""
    name = f"`{account.user}`@`{host}`"
    return [
        Change(f"password of {name}", statement, arguments)
        for statement, arguments in statements(name, account.passwords, stored.first, stored.second)
    ]


def ensure(cursor: Any, wanted: Wanted, *, check: bool) -> list[str]:
    """Make it so; returns a sentence a change, none when there is nothing to do."""
    changes = [*schema_changes(cursor, wanted)]
    for account in wanted.accounts:
        changes += account_changes(account, existing_accounts(cursor, account.user))
    for login in wanted.logins:
        stored = existing_accounts(cursor, login.user)
        changes += [c for h in login.hosts if h in stored for c in password_changes(login, h, stored[h])]
    if not check:
        for change in changes:
            cursor.execute(change.statement, change.arguments or None)
    return [change.text for change in changes]


def schema_changes(cursor: Any, wanted: Wanted) -> list[Change]:
    """Schemas, the probe table and its rows that are not there."""
    cursor.execute("SELECT schema_name FROM information_schema.schemata")
    schemas = {row[0] for row in cursor.fetchall()}
    changes = [
        Change(f"schema {name}", f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE {collation}")
        for name, collation in wanted.schemas.items()
        if name not in schemas
    ]
    cursor.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = 'yiyun_probe' AND table_name = 'proof'"
    )
    rows: set[str] = set()
    if cursor.fetchone():
        cursor.execute("SELECT member FROM yiyun_probe.proof")
        rows = {row[0] for row in cursor.fetchall()}
    else:
        changes.append(Change("table yiyun_probe.proof", PROBE_TABLE))
    changes += [
        Change(f"proof of {member}", "INSERT INTO yiyun_probe.proof (member) VALUES (%s)", (member,))
        for member in wanted.probe
        if member not in rows
    ]
    return changes


def existing_accounts(cursor: Any, user: str) -> dict[str, Stored]:
    """Host → what is stored (rights without USAGE) of every account of that user."""
    cursor.execute(
        "SELECT host, CAST(authentication_string AS BINARY), CAST(JSON_UNQUOTE(JSON_EXTRACT("
        "user_attributes, '$.additional_password')) AS BINARY) FROM mysql.user WHERE user = %s",
        (user,),
    )
    result: dict[str, Stored] = {}
    for host, first, second in cursor.fetchall():
        cursor.execute(f"SHOW GRANTS FOR `{user}`@`{host}`")
        lines = (row[0].removeprefix("GRANT ").rsplit(" TO ", 1)[0] for row in cursor.fetchall())
        grants = frozenset(line for line in lines if line != "USAGE ON *.*")
        result[host] = Stored(grants, bytes(first or b""), bytes(second or b""))
    return result
