"""FHIR R4: Patient and Observation, read and search."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fhir.resources.R4B.observation import Observation as FhirObservation
from fhir.resources.R4B.patient import Patient as FhirPatient
from fhir.resources.R4B.resource import Resource
from sqlalchemy.orm import Session

from yiyun_app import fhir_mapping
from yiyun_app.audit import record_reads
from yiyun_app.fhir_json import to_json
from yiyun_app.identifiers import is_record_number
from yiyun_app.residents import count_results, facility_identifiers, timeline
from yiyun_app.schema import Observation, Resident
from yiyun_app.users import Staff
from yiyun_app.web.access import api_user, reader
from yiyun_app.web.context import Application, application, base_url
from yiyun_app.web.problems import FHIR_MEDIA_TYPE, ProblemError

router = APIRouter(prefix="/fhir")
MAX_COUNT = 200
User = Annotated[Staff, Depends(api_user)]
Count = Annotated[int, Query(alias="_count", ge=1)]
Page = Annotated[str, Query(alias="_page", max_length=200)]
_ROLES_THAT_SEE_ID_CARDS = {"doctor"}


@router.get("/metadata")
def metadata(request: Request, _staff: User) -> Response:
    """What this server can do."""
    return _answer(fhir_mapping.capability_statement(_base(request)))


@router.get("/Patient/{identifier}")
def read_patient(request: Request, staff: User, identifier: str) -> Response:
    """One resident by record number."""
    parts, who = application(request), reader(request, staff)

    def work(session: Session) -> FhirPatient | None:
        found = session.get(Resident, identifier)
        if found is None:
            return None
        record_reads(session, who, "fhir:Patient", [identifier])
        return _patients(parts, session, [found], staff)[0]

    found = parts.transaction(work, idempotent=True) if is_record_number(identifier) else None
    if found is None:
        raise ProblemError(404, "no such Patient")
    return _answer(found)


@router.get("/Patient")
def search_patients(
    request: Request, staff: User, identifier: str = "", name: str = "", count: Count = 50, page: Page = ""
) -> Response:
    """Residents by `identifier=system|value`, or by the start of `name`."""
    _only(request, {"identifier", "name", "_count", "_page"})
    system, bar, value = identifier.partition("|")
    if bool(identifier) == bool(name) or (identifier and not (bar and value)):
        raise ProblemError(400, "search by identifier=system|value or by name")
    if page and not is_record_number(page):
        raise ProblemError(400, "the page token is not one of this server")
    parts, who, size = application(request), reader(request, staff), min(count, MAX_COUNT)

    def work(session: Session) -> tuple[Sequence[FhirPatient], str | None]:
        if identifier:
            one = parts.residents.by_identifier(session, system, value)
            found: Sequence[Resident] = [one] if one else []
        else:
            found = parts.residents.by_name(session, name.strip(), page, size + 1)
        shown = found[:size]
        record_reads(session, who, "fhir:Patient-search", [item.record_number for item in shown])
        return _patients(parts, session, shown, staff), shown[-1].record_number if len(found) > size else None

    resources, following = parts.transaction(work, idempotent=True)
    asked = {"identifier": identifier} if identifier else {"name": name, "_count": str(size)}
    total = len(resources) if identifier else None
    return _bundle(request, resources, "Patient", asked, total, following)


@router.get("/Observation/{identifier}")
def read_observation(request: Request, staff: User, identifier: UUID) -> Response:
    """One result."""
    parts, who = application(request), reader(request, staff)

    def work(session: Session) -> FhirObservation | None:
        found = session.get(Observation, identifier)
        if found is None:
            return None
        record_reads(session, who, "fhir:Observation", [found.record_number])
        return fhir_mapping.observation(found)

    found = parts.transaction(work, idempotent=True)
    if found is None:
        raise ProblemError(404, "no such Observation")
    return _answer(found)


@router.get("/Observation")
def search_observations(
    request: Request, staff: User, patient: str = "", count: Count = 50, page: Page = ""
) -> Response:
    """A resident's results, newest first."""
    _only(request, {"patient", "_count", "_page"})
    number = patient.removeprefix("Patient/")
    if not is_record_number(number):
        raise ProblemError(400, "search by patient=Patient/{record number}")
    try:
        position = fhir_mapping.read_page_token(page) if page else None
    except ValueError as error:
        raise ProblemError(400, str(error)) from None
    parts, who, size = application(request), reader(request, staff), min(count, MAX_COUNT)

    def work(session: Session) -> tuple[list[FhirObservation], int, str | None]:
        found = timeline(session, number, size + 1, position)
        if session.get(Resident, number) is not None:
            record_reads(session, who, "fhir:Observation-search", [number])
        following = fhir_mapping.page_token(found[size - 1]) if len(found) > size else None
        return (
            [fhir_mapping.observation(row) for row in found[:size]],
            count_results(session, number),
            following,
        )

    resources, total, following = parts.transaction(work, idempotent=True)
    asked = {"patient": f"Patient/{number}", "_count": str(size)}
    return _bundle(request, resources, "Observation", asked, total, following)


def _patients(
    parts: Application, session: Session, found: Sequence[Resident], staff: Staff
) -> list[FhirPatient]:
    identifiers = facility_identifiers(session, [item.record_number for item in found])
    show = staff.role in _ROLES_THAT_SEE_ID_CARDS
    return [
        fhir_mapping.patient(
            item,
            parts.residents.id_card(item),
            [other for other in identifiers if other.record_number == item.record_number],
            show_id_card=show,
        )
        for item in found
    ]


def _only(request: Request, known: set[str]) -> None:
    """An unknown search parameter is refused: ignoring it would answer another question than was asked."""
    unknown = sorted(set(request.query_params) - known - {"_format"})
    if unknown:
        raise ProblemError(400, f"unknown search parameter: {', '.join(unknown)[:100]}")


def _bundle(
    request: Request,
    resources: Sequence[FhirPatient | FhirObservation],
    path: str,
    asked: dict[str, str],
    total: int | None,
    following: str | None,
) -> Response:
    bundle = fhir_mapping.searchset(resources, _base(request), path, asked, total=total, next_page=following)
    return _answer(bundle)


def _base(request: Request) -> str:
    return f"{base_url(request)}/fhir"


def _answer(resource: Resource) -> Response:
    return Response(to_json(resource), media_type=FHIR_MEDIA_TYPE)
