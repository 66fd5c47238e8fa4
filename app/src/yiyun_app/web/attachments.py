"""Attachments on pages: upload and download."""

import re
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from yiyun_app.attachment_store import AttachmentStore
from yiyun_app.attachments import (
    NoSuchResidentError,
    Upload,
    attachment_of,
    clean_name,
    earlier_answer,
    media_type_of,
    store_row,
)
from yiyun_app.audit import record_reads
from yiyun_app.identifiers import is_record_number
from yiyun_app.ingest import KeyReusedError
from yiyun_app.schema import Attachment
from yiyun_app.users import Staff
from yiyun_app.web.access import page_user, reader
from yiyun_app.web.context import application
from yiyun_app.web.login import CSRF_COOKIE
from yiyun_app.web.problems import ProblemError

router = APIRouter()
User = Annotated[Staff, Depends(page_user)]
_KEY = re.compile(r"[0-9a-f]{64}")
_FORM_BYTES = 16 * 1024
"""What a form is larger than its file."""


@router.post("/residents/{record_number}/attachments")
async def upload(request: Request, staff: User, record_number: str) -> Response:
    """Store one file; the same form sent again stores nothing and shows the same page."""
    folder = attachment_store(request)
    if not is_record_number(record_number):
        raise ProblemError(404, "no such resident")
    limit = application(request).settings.attachments_max_bytes
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise ProblemError(411, "an upload must tell its length")
    if int(length) > limit + _FORM_BYTES:
        raise ProblemError(413, f"a file has at most {limit} bytes", reason="too-large")
    async with request.form(max_files=1, max_fields=4, max_part_size=_FORM_BYTES) as form:
        wanted = await _upload(request, form, staff, record_number)
    await run_in_threadpool(_store, request, staff, folder, wanted)
    return RedirectResponse(f"/residents/{record_number}#attachments", 303)


async def _upload(request: Request, form: FormData, staff: Staff, record_number: str) -> Upload:
    parts = application(request)
    file, token, key = form.get("file"), form.get("form_token"), form.get("idempotency_key")
    if not parts.signer.form_is_ours(request.cookies.get(CSRF_COOKIE), str(token)):
        raise ProblemError(403, "the form is not from this browser")
    if not isinstance(file, UploadFile) or not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ProblemError(422, "the request is not valid")
    content = await file.read()
    if len(content) > parts.settings.attachments_max_bytes:
        raise ProblemError(
            413, f"a file has at most {parts.settings.attachments_max_bytes} bytes", reason="too-large"
        )
    kind = media_type_of(content)
    if kind is None:
        raise ProblemError(415, "a file must be PDF, PNG or JPEG", reason="wrong-type")
    name = clean_name(file.filename or "")
    return Upload(record_number, staff.username, bytes.fromhex(key), name, kind, content)


def _store(request: Request, staff: Staff, folder: AttachmentStore, wanted: Upload) -> None:
    """The file first, then its row: a row never names a file that is not there."""
    parts, who = application(request), reader(request, staff)

    def row(session: Session, storage_key: str) -> None:
        store_row(session, wanted, storage_key)
        record_reads(session, who, "attachment:add", [wanted.record_number])

    try:
        if parts.transaction(lambda session: earlier_answer(session, wanted), idempotent=True) is None:
            storage_key = folder.save(wanted.content)
            parts.transaction(lambda session: row(session, storage_key), idempotent=True)
    except NoSuchResidentError:
        raise ProblemError(404, "no such resident") from None
    except KeyReusedError:
        raise ProblemError(409, "this form was used for another file") from None


@router.get("/residents/{record_number}/attachments/{identifier}")
def download(request: Request, staff: User, record_number: str, identifier: UUID) -> Response:
    """One file of that record, always as a download."""
    parts, who, folder = application(request), reader(request, staff), attachment_store(request)

    def work(session: Session) -> Attachment | None:
        found = attachment_of(session, identifier, record_number)
        if found is not None:
            record_reads(session, who, "attachment", [record_number])
        return found

    found = parts.transaction(work, idempotent=True) if is_record_number(record_number) else None
    if found is None:
        raise ProblemError(404, "no such attachment")
    return as_file(folder.load(found.storage_key, found.sha256), found)


def as_file(content: bytes, row: Attachment) -> Response:
    """The content as a download under its own name."""
    disposition = f"attachment; filename*=UTF-8''{quote(row.file_name, safe='')}"
    return Response(content, media_type=row.media_type, headers={"Content-Disposition": disposition})


def attachment_store(request: Request) -> AttachmentStore:
    """The folder of attachments; ProblemError 404 when this installation has none."""
    folder = application(request).attachments
    if folder is None:
        raise ProblemError(404, "this installation keeps no attachments")
    return folder
