"""Finding residents, and opening a record for one who has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, or_, select, tuple_
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.orm import Session

from yiyun_app.crypto import FieldCipher
from yiyun_app.database import utc_now
from yiyun_app.identifiers import (
    ID_CARD_SYSTEM,
    RECORD_NUMBER_SYSTEM,
    Area,
    id_card_birth_date,
    is_record_number,
    normalise_id_card,
    record_number,
)
from yiyun_app.names import MAX_INITIALS, pinyin_initials
from yiyun_app.schema import Counter, Observation, Resident, ResidentIdentifier

ID_CARD_COLUMN = "resident.id_card"


@dataclass(frozen=True)
class NewResident:
    """What a sender knows about a resident without a record."""

    name: str
    gender: str
    birth_date: date | None
    id_card: str | None


@dataclass(frozen=True)
class TimelinePosition:
    """A place in a timeline, newest first: everything after it is older."""

    observed_at: datetime
    id: UUID


class Residents:
    """Queries over residents under one field key."""

    def __init__(self, cipher: FieldCipher, county: str) -> None:
        self._cipher = cipher
        self._county = county

    def id_card(self, resident: Resident) -> str | None:
        """The resident's ID number in clear, None when unknown."""
        if resident.id_card_encrypted is None:
            return None
        return self._cipher.decrypt(resident.id_card_encrypted, ID_CARD_COLUMN, resident.record_number)

    def by_id_card(self, session: Session, number: str) -> Resident | None:
        """The resident with this (normalised) ID number."""
        return session.scalar(select(Resident).where(self._has_id_card(number)))

    def by_identifier(self, session: Session, system: str, value: str) -> Resident | None:
        """The resident with an identifier of any system: ID card, record number, or a facility's own."""
        if system == RECORD_NUMBER_SYSTEM:
            return session.get(Resident, value)
        if system == ID_CARD_SYSTEM:
            number = normalise_id_card(value)
            return self.by_id_card(session, number) if number else None
        known = session.get(ResidentIdentifier, (system, value))
        return session.get(Resident, known.record_number) if known else None

    def search(self, session: Session, text: str, limit: int) -> Sequence[Resident]:
        """Residents by record number, ID number, start of the name or of the name's pinyin initials."""
        query = select(Resident).where(self._matches(text.strip()))
        return session.scalars(query.order_by(Resident.name, Resident.record_number).limit(limit)).all()

    def by_name(self, session: Session, name: str, after: str, limit: int) -> Sequence[Resident]:
        """Residents whose name starts so, in the order of record numbers, beginning after one."""
        query = select(Resident).where(
            Resident.name.startswith(name, autoescape=True), Resident.record_number > after
        )
        return session.scalars(query.order_by(Resident.record_number).limit(limit)).all()

    def create(self, session: Session, new: NewResident) -> Resident:
        """Open a record under the next number of the unknown area. Holds that counter's row until commit."""
        number = next_record_number(session, Area(self._county))
        now = utc_now()
        birth_date = new.birth_date or (id_card_birth_date(new.id_card) if new.id_card else None)
        resident = Resident(
            record_number=number,
            name=new.name,
            pinyin_initials=pinyin_initials(new.name),
            birth_date=birth_date,
            gender=new.gender,
            created_at=now,
            changed_at=now,
        )
        if new.id_card:
            self.set_id_card(resident, new.id_card)
        session.add(resident)
        session.flush()
        return resident

    def set_id_card(self, resident: Resident, number: str) -> None:
        """Put a (normalised) ID number on a record, encrypted and indexed."""
        resident.id_card_encrypted = self._cipher.encrypt(number, ID_CARD_COLUMN, resident.record_number)
        resident.id_card_index = self._cipher.blind_index(number, ID_CARD_COLUMN)
        resident.changed_at = utc_now()

    def rekey(self, session: Session, after: str, limit: int) -> tuple[int, str]:
        """Store up to `limit` ID numbers under the current key that are under another one.

        Begins after a record number; returns how many, and the last record number (empty: none was left).
        """
        stored = Resident.id_card_encrypted
        old = func.left(stored, len(self._cipher.prefix)) != self._cipher.prefix
        query = select(Resident).where(stored.is_not(None), old, Resident.record_number > after)
        found = session.scalars(query.order_by(Resident.record_number).limit(limit).with_for_update()).all()
        for resident in found:
            changed_at, number = resident.changed_at, self.id_card(resident)
            if number is not None:
                self.set_id_card(resident, number)
            resident.changed_at = changed_at
        return len(found), found[-1].record_number if found else ""

    def _has_id_card(self, number: str) -> ColumnElement[bool]:
        return Resident.id_card_index.in_(self._cipher.blind_indexes(number, ID_CARD_COLUMN))

    def _matches(self, text: str) -> ColumnElement[bool]:
        if not text:
            return false()
        if is_record_number(text):
            return Resident.record_number == text
        if number := normalise_id_card(text):
            return self._has_id_card(number)
        initials = text.lower()
        by_name = Resident.name.startswith(text, autoescape=True)
        if not (initials.isascii() and initials.isalnum() and len(initials) <= MAX_INITIALS):
            return by_name
        return or_(by_name, Resident.pinyin_initials.startswith(initials, autoescape=True))


def next_record_number(session: Session, area: Area) -> str:
    """Allot the area's next record number; the counter's row stays locked until the transaction ends."""
    counter = _locked_counter(session, area)
    counter.value += 1
    session.flush()
    return record_number(area, counter.value)


def lock_area(session: Session, area: Area) -> None:
    """Wait for everybody who is allotting a number of the area; a second look then sees what they made."""
    _locked_counter(session, area)


def _locked_counter(session: Session, area: Area) -> Counter:
    name = area.counter_name
    query = select(Counter).where(Counter.name == name).with_for_update()
    fresh = query.execution_options(populate_existing=True)
    counter = session.scalars(fresh).one_or_none()
    if counter is None:
        new = insert(Counter).values(name=name, value=0)
        session.execute(new.on_duplicate_key_update(value=Counter.value))
        counter = session.scalars(fresh).one()
    return counter


def timeline(
    session: Session, number: str, limit: int, after: TimelinePosition | None = None
) -> Sequence[Observation]:
    """A resident's results, newest first, beginning after a position."""
    query = select(Observation).where(Observation.record_number == number)
    if after is not None:
        query = query.where(tuple_(Observation.observed_at, Observation.id) < (after.observed_at, after.id))
    return session.scalars(
        query.order_by(Observation.observed_at.desc(), Observation.id.desc()).limit(limit)
    ).all()


def count_results(session: Session, number: str) -> int:
    """How many results a resident has."""
    return session.scalar(select(func.count()).where(Observation.record_number == number)) or 0


def facility_identifiers(session: Session, numbers: Sequence[str]) -> Sequence[ResidentIdentifier]:
    """The facilities' own identifiers of some residents."""
    return session.scalars(
        select(ResidentIdentifier)
        .where(ResidentIdentifier.record_number.in_(numbers))
        .order_by(ResidentIdentifier.system, ResidentIdentifier.value)
    ).all()
