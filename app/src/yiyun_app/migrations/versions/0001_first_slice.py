"""Residents, results with their history, staff, sessions, idempotency keys, access records.

Written out, not taken from yiyun_app.schema, which moves on. Each table is created only if absent: MySQL
commits DDL at once, so a migration cut short in the middle is simply run again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_UUID = mysql.BINARY(16)
_HASH = mysql.BINARY(32)
_MOMENT = mysql.DATETIME(fsp=6)
_RECORD_NUMBER = sa.String(17)


def _required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _table(name: str, *parts: Any) -> None:
    indexes = [part for part in parts if isinstance(part, sa.Index)]
    op.create_table(
        name,
        *(part for part in parts if not isinstance(part, sa.Index)),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_0900_as_cs",
    )
    online = not context.is_offline_mode()
    present = {found["name"] for found in sa.inspect(op.get_bind()).get_indexes(name)} if online else set()
    for index in indexes:
        if index.name not in present:
            op.create_index(
                index.name, name, [str(column) for column in index.expressions], unique=index.unique
            )


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def upgrade() -> None:
    """Create the tables."""
    _staff()
    _residents()
    _observations()
    _records()


def _staff() -> None:
    _table(
        "staff_user",
        _required("username", sa.String(64), primary_key=True),
        _required("display_name", sa.String(100)),
        _required("role", sa.String(16)),
        _required("password_hash", sa.String(255)),
        _required("changed_at", _MOMENT),
    )
    _table(
        "login_session",
        _required("id_hash", _HASH, primary_key=True),
        _required("username", sa.String(64)),
        _required("created_at", _MOMENT),
        _required("expires_at", _MOMENT),
        sa.Column("ended_at", _MOMENT),
        _reference("login_session", "username", "staff_user.username"),
        sa.Index("ix_login_session_username", "username"),
        sa.Index("ix_login_session_expires_at", "expires_at"),
    )


def _residents() -> None:
    _table(
        "counter",
        _required("name", sa.String(64), primary_key=True),
        _required("value", sa.BigInteger()),
    )
    _table(
        "resident",
        _required("record_number", _RECORD_NUMBER, primary_key=True),
        _required("name", sa.String(100)),
        _required("pinyin_initials", sa.String(32)),
        sa.Column("birth_date", sa.Date()),
        _required("gender", sa.String(8)),
        sa.Column("id_card_encrypted", mysql.VARBINARY(255)),
        sa.Column("id_card_index", _HASH),
        sa.Column("phone_encrypted", mysql.VARBINARY(255)),
        _required("created_at", _MOMENT),
        _required("changed_at", _MOMENT),
        sa.Index("uq_resident_id_card_index", "id_card_index", unique=True),
        sa.Index("ix_resident_name", "name"),
        sa.Index("ix_resident_pinyin_initials", "pinyin_initials"),
    )
    _table(
        "resident_identifier",
        _required("system", sa.String(100), primary_key=True),
        _required("value", sa.String(64), primary_key=True),
        _required("record_number", _RECORD_NUMBER),
        _reference("resident_identifier", "record_number", "resident.record_number"),
        sa.Index("ix_resident_identifier_record_number", "record_number"),
    )


def _observations() -> None:
    texts = {
        "facility": 64, "site": 64, "application": 64, "placer": 64, "filler": 64, "order_code": 64,
        "order_display": 200, "set_id": 16, "code_system": 100, "code": 64, "code_display": 200,
        "value_type": 4, "comparator": 2, "unit": 64, "reference_range": 200, "abnormal_flag": 16,
        "status": 16, "message_control_id": 199,
    }  # fmt: skip
    _table(
        "observation",
        _required("id", _UUID, primary_key=True),
        _required("natural_key", _HASH),
        _required("record_number", _RECORD_NUMBER),
        _required("version", sa.Integer()),
        *(_required(name, sa.String(length)) for name, length in texts.items()),
        _required("value", sa.Text()),
        _required("observed_at", _MOMENT),
        _required("received_at", _MOMENT),
        _required("raw_sha256", _HASH),
        _required("changed_at", _MOMENT),
        _reference("observation", "record_number", "resident.record_number"),
        sa.Index("uq_observation_natural_key", "natural_key", unique=True),
        sa.Index("ix_observation_timeline", "record_number", "observed_at", "id"),
    )
    _table(
        "observation_version",
        _required("observation_id", _UUID, primary_key=True),
        _required("sequence", sa.SmallInteger(), primary_key=True, autoincrement=False),
        _required("disposition", sa.String(8)),
        _required("content", sa.JSON()),
        _required("stored_at", _MOMENT),
        _reference("observation_version", "observation_id", "observation.id"),
    )


def _records() -> None:
    _table(
        "idempotency_key",
        _required("client", sa.String(128), primary_key=True),
        _required("key", _HASH, primary_key=True),
        _required("body_sha256", _HASH),
        sa.Column("answer", sa.JSON()),
        _required("created_at", _MOMENT),
        sa.Index("ix_idempotency_key_created_at", "created_at"),
    )
    _table(
        "record_access",
        _required("id", _UUID, primary_key=True),
        _required("at", _MOMENT),
        _required("username", sa.String(64)),
        _required("address", sa.String(45)),
        _required("action", sa.String(32)),
        _required("record_number", _RECORD_NUMBER),
        sa.Index("ix_record_access_record_number_at", "record_number", "at"),
        sa.Index("ix_record_access_username_at", "username", "at"),
    )
