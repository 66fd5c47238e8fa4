"""Storing a gateway message exactly once: key, resident, results and answer in one transaction."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from yiyun_app.database import to_utc, utc_now
from yiyun_app.identifiers import ID_CARD_SYSTEM, Area, mrn_system
from yiyun_app.ingest_message import Message, Order, Result, numbered_results
from yiyun_app.residents import NewResident, Residents, lock_area
from yiyun_app.retry import RestartTransactionError, is_duplicate_key
from yiyun_app.schema import (
    IdempotencyKey,
    Observation,
    ObservationVersion,
    Resident,
    ResidentIdentifier,
    new_id,
)

_CONTENT = (
    "code_display", "order_code", "order_display", "value_type", "value", "comparator", "unit",
    "reference_range", "abnormal_flag", "status", "observed_at",
)  # fmt: skip
_PROVENANCE = ("application", "site", "placer", "set_id", "message_control_id", "raw_sha256", "received_at")


class KeyReusedError(Exception):
    """The idempotency key was used before with another body."""


class NoIdentifierError(ValueError):
    """Neither a valid ID number nor the sending facility's own number identifies the patient."""


@dataclass(frozen=True)
class IngestRequest:
    """A message with what makes it repeatable: the client's name, its key (32 bytes), the body's hash."""

    client: str
    key: bytes
    body_sha256: bytes
    message: Message


@dataclass(frozen=True)
class Stored:
    """The answer, and whether it was given before."""

    duplicate: bool
    answer: dict[str, Any]


def store(session: Session, residents: Residents, county: str, request: IngestRequest) -> Stored:
    """Store a message or return the answer it got before.

    Raises KeyReusedError, NoIdentifierError, and RestartTransactionError when another transaction won a race.
    """
    try:
        earlier = _claim_key(session, request)
        if earlier is not None:
            return earlier
        warnings: list[str] = []
        resident = _resident(session, residents, county, request.message, warnings)
        identifiers = _store_results(session, resident.record_number, request.message)
        answer = {"resident": resident.record_number, "observations": identifiers, "warnings": warnings}
        claimed = session.get_one(IdempotencyKey, (request.client, request.key))
        claimed.answer = answer
        session.flush()
    except IntegrityError as error:
        if is_duplicate_key(error):
            raise RestartTransactionError from error
        raise
    return Stored(duplicate=False, answer=answer)


def _claim_key(session: Session, request: IngestRequest) -> Stored | None:
    found = session.get(IdempotencyKey, (request.client, request.key))
    if found is None:
        session.add(
            IdempotencyKey(
                client=request.client, key=request.key, body_sha256=request.body_sha256, created_at=utc_now()
            )
        )
        session.flush()
        return None
    if found.body_sha256 != request.body_sha256:
        raise KeyReusedError
    return Stored(duplicate=True, answer=found.answer or {})


def _resident(
    session: Session, residents: Residents, county: str, message: Message, warnings: list[str]
) -> Resident:
    id_card, mrn = message.id_card(), message.facility_number()
    if id_card is None and any(item.system == ID_CARD_SYSTEM for item in message.patient.identifiers):
        warnings.append("id-card-invalid")
    if id_card is None and mrn is None:
        raise NoIdentifierError("no valid ID number and no number of the sending facility")
    found = _match(session, residents, message, warnings)
    if found is None:
        lock_area(session, Area(county))
        found = _match(session, residents, message, warnings)
    if found is None:
        patient = message.patient
        found = residents.create(
            session, NewResident(patient.name, patient.gender, patient.birth_date, id_card)
        )
    if found.name != message.patient.name:
        warnings.append("name-differs")
    if mrn is not None:
        _link_facility_number(session, found, mrn_system(message.source.facility), mrn, warnings)
    return found


def _match(session: Session, residents: Residents, message: Message, warnings: list[str]) -> Resident | None:
    """By ID card; else by the facility's number, unless that record carries another person's ID card."""
    id_card, mrn = message.id_card(), message.facility_number()
    if id_card and (resident := residents.by_id_card(session, id_card)):
        return resident
    if mrn is None:
        return None
    resident = residents.by_identifier(session, mrn_system(message.source.facility), mrn)
    if resident is None or id_card is None:
        return resident
    if resident.id_card_index is not None:
        return None
    if message.patient.birth_date not in {None, resident.birth_date}:
        warnings.append("birth-date-differs")
        return resident
    residents.set_id_card(resident, id_card)
    return resident


def _link_facility_number(
    session: Session, resident: Resident, system: str, value: str, warnings: list[str]
) -> None:
    known = session.get(ResidentIdentifier, (system, value))
    if known is None:
        session.add(ResidentIdentifier(system=system, value=value, record_number=resident.record_number))
        session.flush()
    elif known.record_number != resident.record_number:
        warnings.append("facility-number-of-another-resident")


def _store_results(session: Session, record_number: str, message: Message) -> list[str]:
    incoming = [
        _observation(record_number, message, order, result, key)
        for order, result, key in numbered_results(message, record_number)
    ]
    query = select(Observation).where(Observation.natural_key.in_([item.natural_key for item in incoming]))
    known = {item.natural_key: item for item in session.scalars(query.with_for_update())}
    stored: list[str] = []
    for item in incoming:
        current = known.get(item.natural_key)
        if current is None:
            session.add(item)
        else:
            _merge(session, current, item)
        stored.append(str((current or item).id))
    session.flush()
    return stored


def _observation(
    record_number: str, message: Message, order: Order, result: Result, key: bytes
) -> Observation:
    return Observation(
        id=new_id(),
        natural_key=key,
        record_number=record_number,
        version=1,
        facility=message.source.facility,
        site=message.source.site,
        application=message.source.application,
        placer=order.placer,
        filler=order.filler,
        order_code=order.code.code,
        order_display=order.code.display,
        code_system=result.code.system,
        code=result.code.code,
        code_display=result.code.display,
        **result.model_dump(exclude={"code", "observed_at"}),
        observed_at=to_utc(result.observed_at or order.observed_at),
        received_at=to_utc(message.received_at),
        message_control_id=message.message_control_id,
        raw_sha256=bytes.fromhex(message.raw_sha256),
        changed_at=utc_now(),
    )


def supersedes(current_status: str, incoming_status: str, *, newer: bool) -> bool:
    """Whether an incoming result replaces the shown one: not when older, nor preliminary after final."""
    return newer and not (incoming_status == "preliminary" and current_status != "preliminary")


def _merge(session: Session, current: Observation, incoming: Observation) -> None:
    """Replace the shown result and keep what it said, or keep what came too late."""
    if all(getattr(current, name) == getattr(incoming, name) for name in _CONTENT):
        return
    newer = incoming.received_at >= current.received_at
    replace = supersedes(current.status, incoming.status, newer=newer)
    kept, disposition = (current, "replaced") if replace else (incoming, "late")
    _keep(session, current, kept, disposition)
    if replace:
        for name in (*_CONTENT, *_PROVENANCE):
            setattr(current, name, getattr(incoming, name))
        current.version += 1
        current.changed_at = utc_now()


def _keep(session: Session, current: Observation, kept: Observation, disposition: str) -> None:
    content = {name: _plain(getattr(kept, name)) for name in ("version", *_CONTENT, *_PROVENANCE)}
    last = session.scalar(
        select(func.max(ObservationVersion.sequence)).where(ObservationVersion.observation_id == current.id)
    )
    session.add(
        ObservationVersion(
            observation_id=current.id,
            sequence=(last or 0) + 1,
            disposition=disposition,
            content=content,
            stored_at=utc_now(),
        )
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else value
