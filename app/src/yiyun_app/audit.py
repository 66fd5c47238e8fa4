"""The record of who read whose health record."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from yiyun_app.database import utc_now
from yiyun_app.schema import RecordAccess, new_id


@dataclass(frozen=True)
class Reader:
    """Who reads, and from which address."""

    username: str
    address: str


def record_reads(session: Session, reader: Reader, action: str, record_numbers: Sequence[str]) -> None:
    """Store one row for each resident whose data the answer carries, within the reading transaction."""
    now = utc_now()
    session.add_all(
        RecordAccess(
            id=new_id(),
            at=now,
            username=reader.username,
            address=reader.address,
            action=action,
            record_number=number,
        )
        for number in dict.fromkeys(record_numbers)
    )


def reads_of(session: Session, record_number: str) -> Sequence[RecordAccess]:
    """Every read of one resident's record, oldest first."""
    query = select(RecordAccess).where(RecordAccess.record_number == record_number)
    return session.scalars(query.order_by(RecordAccess.at, RecordAccess.id)).all()
