"""Secrets that hosts share: the old and the new one are both accepted while their users change over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from infra.errors import YiyunError
from infra.reach import run_on
from infra.rotation.model import Phase, Rotator, Values, Work, add_next, retire, switch
from infra.rotation.policy import rule_of
from infra.trust.material import shared_makers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.rotation.catalogue import Entry

REKEY_SECONDS = 6 * 3600
"""How long storing everything under the new field key may take: 1.2 million records need minutes."""


def _converge(work: Work, entries: Sequence[Entry]) -> None:
    work.converge_users(entries)


def _make(name: str) -> str:
    return shared_makers()[name]()


def _replace(_work: Work, values: Values, entries: Sequence[Entry]) -> None:
    for entry in entries:
        values[entry.name] = _make(entry.name)


def _platform_account(work: Work, entries: Sequence[Entry]) -> None:
    if work.estate.provider == "lab":
        work.material().write_lab_password()
    work.converge_users(entries)


def _rekey(work: Work, entries: Sequence[Entry]) -> None:
    """Store every field under the current key, by one of the hosts that hold it."""
    host = entries[0].hosts[0]
    script = (
        "set -a; . /etc/yiyun-app/app.env; set +a; "
        "exec runuser -u yiyun-app -- /opt/yiyun-app/current/venv/bin/yiyun-app rekey"
    )
    answer = run_on(work.paths, host, ["sh", "-c", script], seconds=REKEY_SECONDS)
    if answer.returncode != 0:
        raise YiyunError(
            f"{host}: not everything could be stored under the new key: {answer.stderr.strip()[-300:]}",
            hint=f"yiyun logs {host} --unit yiyun-app",
        )


_TAKEN_UP = ("platform: reads its files anew, nothing restarts",)
_INTRODUCE = Phase("introduce", "the new one is accepted beside the old one", _converge, add_next(_make))

DATABASE_ACCOUNT = Rotator(
    "database-account",
    (
        Phase(
            "introduce",
            "each account accepts the new password beside the old one",
            _converge,
            add_next(_make),
            ("mysql: dual passwords, nothing restarts",),
        ),
        Phase(
            "switch",
            "everybody logs in with the new password",
            _converge,
            switch,
            (
                "yiyun-mysql-group: the group's keeper restarts",
                "platform, health agents: read their files anew",
            ),
        ),
        Phase("retire", "the old password is refused", _converge, retire),
    ),
)
SESSION_KEY = Rotator(
    "session-key",
    (
        _INTRODUCE,
        Phase("switch", "cookies are signed with the new key", _converge, switch, _TAKEN_UP),
        Phase(
            "retire",
            "cookies of the old key are refused",
            _converge,
            retire,
            ("whoever signed in before the switch signs in again",),
            timedelta(hours=rule_of("session-key").wait),
        ),
    ),
)
FIELD_KEY = Rotator(
    "field-key",
    (
        Phase(
            "introduce",
            "every platform can read what the new key wrote",
            _converge,
            add_next(_make),
            _TAKEN_UP,
        ),
        Phase("switch", "new fields are stored under the new key", _converge, switch, _TAKEN_UP),
        Phase("rekey", "old fields are stored under the new key, in small transactions", _rekey),
        Phase("retire", "the old key is forgotten", _converge, retire, _TAKEN_UP),
    ),
)
PLATFORM_ACCOUNT = Rotator(
    "platform-account",
    (
        Phase(
            "replace",
            "the account has the new password",
            _platform_account,
            _replace,
            ("sessions of this account end",),
        ),
    ),
)
