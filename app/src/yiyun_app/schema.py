"""The tables: InnoDB, a primary key everywhere, no cascading foreign key, as Group Replication demands."""

import os
import time
import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Text,
    types,
)
from sqlalchemy.dialects.mysql import BINARY, DATETIME, VARBINARY
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MOMENT = DATETIME(fsp=6)
"""UTC without a zone, microseconds."""
INNODB = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_0900_as_cs"}


class BinaryUuid(types.TypeDecorator[uuid.UUID]):
    """A UUID in 16 bytes."""

    impl = BINARY(16)
    cache_ok = True

    def process_bind_param(self, value: uuid.UUID | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give the database the 16 bytes."""
        return None if value is None else value.bytes

    def process_result_value(self, value: Any | None, dialect: Dialect) -> uuid.UUID | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read the 16 bytes back."""
        return None if value is None else uuid.UUID(bytes=bytes(value))


def new_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): milliseconds, then random, so that rows arrive in key order."""
    milliseconds = time.time_ns() // 1_000_000
    raw = bytearray(milliseconds.to_bytes(6, "big") + os.urandom(10))
    raw[6] = (raw[6] & 0x0F) | 0x70
    raw[8] = (raw[8] & 0x3F) | 0x80
    return uuid.UUID(bytes=bytes(raw))


class Base(DeclarativeBase):
    """Common metadata with predictable constraint names."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StaffUser(Base):
    """Someone who can log in."""

    __tablename__ = "staff_user"
    __table_args__ = (INNODB,)
    username: Mapped[str] = mapped_column(String(64), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255))
    changed_at: Mapped[datetime] = mapped_column(MOMENT)


class LoginSession(Base):
    """One login; its identifier is stored hashed, so that a copy of the table opens no session."""

    __tablename__ = "login_session"
    id_hash: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    username: Mapped[str] = mapped_column(String(64), ForeignKey("staff_user.username"))
    created_at: Mapped[datetime] = mapped_column(MOMENT)
    expires_at: Mapped[datetime] = mapped_column(MOMENT)
    ended_at: Mapped[datetime | None] = mapped_column(MOMENT)
    __table_args__ = (Index(None, "username"), Index(None, "expires_at"), INNODB)


class Counter(Base):
    """A number handed out under a row lock; gaps after a rollback never come, unlike AUTO_INCREMENT."""

    __tablename__ = "counter"
    __table_args__ = (INNODB,)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Resident(Base):
    """A resident's health record."""

    __tablename__ = "resident"
    record_number: Mapped[str] = mapped_column(String(17), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    pinyin_initials: Mapped[str] = mapped_column(String(32))
    birth_date: Mapped[date | None]
    gender: Mapped[str] = mapped_column(String(8))
    id_card_encrypted: Mapped[bytes | None] = mapped_column(VARBINARY(255))
    id_card_index: Mapped[bytes | None] = mapped_column(BINARY(32))
    phone_encrypted: Mapped[bytes | None] = mapped_column(VARBINARY(255))
    created_at: Mapped[datetime] = mapped_column(MOMENT)
    changed_at: Mapped[datetime] = mapped_column(MOMENT)
    __table_args__ = (
        Index("uq_resident_id_card_index", "id_card_index", unique=True),
        Index(None, "name"),
        Index(None, "pinyin_initials"),
        INNODB,
    )


class ResidentIdentifier(Base):
    """A facility's own number for a resident."""

    __tablename__ = "resident_identifier"
    system: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str] = mapped_column(String(64), primary_key=True)
    record_number: Mapped[str] = mapped_column(String(17), ForeignKey("resident.record_number"))
    __table_args__ = (Index(None, "record_number"), INNODB)


class Observation(Base):
    """The present state of one result; what it said before is in ObservationVersion."""

    __tablename__ = "observation"
    id: Mapped[uuid.UUID] = mapped_column(BinaryUuid, primary_key=True)
    natural_key: Mapped[bytes] = mapped_column(BINARY(32))
    record_number: Mapped[str] = mapped_column(String(17), ForeignKey("resident.record_number"))
    version: Mapped[int] = mapped_column(Integer)
    facility: Mapped[str] = mapped_column(String(64))
    site: Mapped[str] = mapped_column(String(64))
    application: Mapped[str] = mapped_column(String(64))
    placer: Mapped[str] = mapped_column(String(64))
    filler: Mapped[str] = mapped_column(String(64))
    order_code: Mapped[str] = mapped_column(String(64))
    order_display: Mapped[str] = mapped_column(String(200))
    set_id: Mapped[str] = mapped_column(String(16))
    code_system: Mapped[str] = mapped_column(String(100))
    code: Mapped[str] = mapped_column(String(64))
    code_display: Mapped[str] = mapped_column(String(200))
    value_type: Mapped[str] = mapped_column(String(4))
    value: Mapped[str] = mapped_column(Text)
    comparator: Mapped[str] = mapped_column(String(2))
    unit: Mapped[str] = mapped_column(String(64))
    reference_range: Mapped[str] = mapped_column(String(200))
    abnormal_flag: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    observed_at: Mapped[datetime] = mapped_column(MOMENT)
    received_at: Mapped[datetime] = mapped_column(MOMENT)
    message_control_id: Mapped[str] = mapped_column(String(199))
    raw_sha256: Mapped[bytes] = mapped_column(BINARY(32))
    changed_at: Mapped[datetime] = mapped_column(MOMENT)
    __table_args__ = (
        Index("uq_observation_natural_key", "natural_key", unique=True),
        Index("ix_observation_timeline", "record_number", "observed_at", "id"),
        INNODB,
    )


class ObservationVersion(Base):
    """What a result said before a newer message replaced it, or what a message said that came too late."""

    __tablename__ = "observation_version"
    __table_args__ = (INNODB,)
    observation_id: Mapped[uuid.UUID] = mapped_column(
        BinaryUuid, ForeignKey("observation.id"), primary_key=True
    )
    sequence: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    disposition: Mapped[str] = mapped_column(String(8))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    stored_at: Mapped[datetime] = mapped_column(MOMENT)


class Attachment(Base):
    """A file of a resident's record; its content is in the folder of attachments under `storage_key`."""

    __tablename__ = "attachment"
    id: Mapped[uuid.UUID] = mapped_column(BinaryUuid, primary_key=True)
    record_number: Mapped[str] = mapped_column(String(17), ForeignKey("resident.record_number"))
    storage_key: Mapped[str] = mapped_column(String(64))
    file_name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes] = mapped_column(BINARY(32))
    uploaded_by: Mapped[str] = mapped_column(String(64))
    uploaded_at: Mapped[datetime] = mapped_column(MOMENT)
    __table_args__ = (
        Index("uq_attachment_storage_key", "storage_key", unique=True),
        Index("ix_attachment_timeline", "record_number", "uploaded_at", "id"),
        INNODB,
    )


class IdempotencyKey(Base):
    """A request that was answered, and the answer; written in the request's own transaction."""

    __tablename__ = "idempotency_key"
    client: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    body_sha256: Mapped[bytes] = mapped_column(BINARY(32))
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(MOMENT)
    __table_args__ = (Index(None, "created_at"), INNODB)


class RecordAccess(Base):
    """Who read whose record, when and how."""

    __tablename__ = "record_access"
    id: Mapped[uuid.UUID] = mapped_column(BinaryUuid, primary_key=True)
    at: Mapped[datetime] = mapped_column(MOMENT)
    username: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(45))
    action: Mapped[str] = mapped_column(String(32))
    record_number: Mapped[str] = mapped_column(String(17))
    __table_args__ = (Index(None, "record_number", "at"), Index(None, "username", "at"), INNODB)


class MigrationLease(Base):
    """Which host may migrate, until when, on which server; GET_LOCK would be local to one member."""

    __tablename__ = "migration_lease"
    __table_args__ = (INNODB,)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(128))
    server_uuid: Mapped[str] = mapped_column(String(36))
    expires_at: Mapped[datetime] = mapped_column(MOMENT)
