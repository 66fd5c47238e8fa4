"""FHIR R4: DocumentReference and Binary, the attachments of a resident."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from yiyun_app import fhir_documents
from yiyun_app.attachments import attachment_of, attachments_of
from yiyun_app.audit import record_reads
from yiyun_app.fhir_json import to_json
from yiyun_app.identifiers import is_record_number
from yiyun_app.schema import Attachment
from yiyun_app.users import Staff
from yiyun_app.web.access import api_user, reader
from yiyun_app.web.attachments import as_file, attachment_store
from yiyun_app.web.context import application, base_url
from yiyun_app.web.problems import FHIR_MEDIA_TYPE, ProblemError

router = APIRouter(prefix="/fhir")
User = Annotated[Staff, Depends(api_user)]


@router.get("/DocumentReference/{identifier}")
def read_document(request: Request, staff: User, identifier: UUID) -> Response:
    """What one attachment is, without its content."""
    found = _found(request, staff, identifier, "fhir:DocumentReference")
    return Response(to_json(fhir_documents.document_reference(found)), media_type=FHIR_MEDIA_TYPE)


@router.get("/DocumentReference")
def search_documents(request: Request, staff: User, patient: str = "") -> Response:
    """A resident's attachments, newest first."""
    number = patient.removeprefix("Patient/")
    unknown = sorted(set(request.query_params) - {"patient", "_format"})
    if unknown or not is_record_number(number):
        raise ProblemError(400, "search by patient=Patient/{record number} alone")
    parts, who = application(request), reader(request, staff)

    def work(session: Session) -> list[Attachment]:
        found = list(attachments_of(session, number))
        if found:
            record_reads(session, who, "fhir:DocumentReference", [number])
        return found

    found = parts.transaction(work, idempotent=True)
    bundle = fhir_documents.searchset(found, f"{base_url(request)}/fhir", f"Patient/{number}")
    return Response(to_json(bundle), media_type=FHIR_MEDIA_TYPE)


@router.get("/Binary/{identifier}")
def read_binary(request: Request, staff: User, identifier: UUID) -> Response:
    """The content: in its own media type, or as a Binary resource for who asks for FHIR."""
    folder = attachment_store(request)
    found = _found(request, staff, identifier, "fhir:Binary")
    content = folder.load(found.storage_key, found.sha256)
    if FHIR_MEDIA_TYPE in request.headers.get("accept", ""):
        return Response(to_json(fhir_documents.binary(found, content)), media_type=FHIR_MEDIA_TYPE)
    return as_file(content, found)


def _found(request: Request, staff: Staff, identifier: UUID, action: str) -> Attachment:
    parts, who = application(request), reader(request, staff)

    def work(session: Session) -> Attachment | None:
        found = attachment_of(session, identifier)
        if found is not None:
            record_reads(session, who, action, [found.record_number])
        return found

    found = parts.transaction(work, idempotent=True)
    if found is None:
        raise ProblemError(404, "no such attachment")
    return found
