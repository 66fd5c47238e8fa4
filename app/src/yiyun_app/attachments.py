"""Attachments of residents: what is accepted, and the rows that say where the files are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from yiyun_app.database import utc_now
from yiyun_app.ingest import KeyReusedError
from yiyun_app.retry import RestartTransactionError, is_duplicate_key
from yiyun_app.schema import Attachment, IdempotencyKey, Resident, new_id

SIGNATURES = {
    "application/pdf": (b"%PDF-",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
}
"""Media type → how such a file begins. What a browser could run is not among them."""
MAX_NAME = 200
MAX_SHOWN = 200


class NoSuchResidentError(LookupError):
    """There is no record of that number."""


@dataclass(frozen=True)
class Upload:
    """A file with what makes its upload repeatable: who sends it, and their key (32 bytes)."""

    record_number: str
    username: str
    key: bytes
    file_name: str
    media_type: str
    content: bytes

    @property
    def client(self) -> str:
        """Whom the idempotency key belongs to."""
        return f"staff:{self.username}"

    @property
    def sha256(self) -> bytes:
        """Hash of the file."""
        return hashlib.sha256(self.content).digest()

    @property
    def request_sha256(self) -> bytes:
        """Hash of everything that was asked for."""
        text = "\0".join((self.record_number, self.file_name, self.media_type))
        return hashlib.sha256(text.encode() + self.sha256).digest()


def media_type_of(content: bytes) -> str | None:
    """The accepted media type that a file's own beginning shows; its name and its sender are not believed."""
    return next((kind for kind, starts in SIGNATURES.items() if content.startswith(starts)), None)


def clean_name(name: str) -> str:
    """A file name without folders and control characters, at most 200 characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable()).strip()[:MAX_NAME] or "attachment"


def earlier_answer(session: Session, upload: Upload) -> dict[str, Any] | None:
    """What this upload was answered before. Raises NoSuchResidentError; KeyReusedError for another upload."""
    if session.get(Resident, upload.record_number) is None:
        raise NoSuchResidentError(upload.record_number)
    found = session.get(IdempotencyKey, (upload.client, upload.key))
    if found is None:
        return None
    if found.body_sha256 != upload.request_sha256:
        raise KeyReusedError
    return found.answer or {}


def store_row(session: Session, upload: Upload, storage_key: str) -> dict[str, Any]:
    """Store the row of a file that is in its place, or return the answer of a repetition that was quicker.

    Raises what `earlier_answer` raises, and RestartTransactionError when another transaction won a race.
    """
    earlier = earlier_answer(session, upload)
    if earlier is not None:
        return earlier
    row = Attachment(
        id=new_id(),
        record_number=upload.record_number,
        storage_key=storage_key,
        file_name=upload.file_name,
        media_type=upload.media_type,
        size=len(upload.content),
        sha256=upload.sha256,
        uploaded_by=upload.username,
        uploaded_at=utc_now(),
    )
    answer = {"attachment": str(row.id)}
    claimed = IdempotencyKey(
        client=upload.client,
        key=upload.key,
        body_sha256=upload.request_sha256,
        answer=answer,
        created_at=utc_now(),
    )
    session.add_all((claimed, row))
    try:
        session.flush()
    except IntegrityError as error:
        if is_duplicate_key(error):
            raise RestartTransactionError from error
        raise
    return answer


def attachments_of(session: Session, record_number: str, limit: int = MAX_SHOWN) -> Sequence[Attachment]:
    """A resident's attachments, newest first."""
    query = select(Attachment).where(Attachment.record_number == record_number)
    return session.scalars(
        query.order_by(Attachment.uploaded_at.desc(), Attachment.id.desc()).limit(limit)
    ).all()


def attachment_of(session: Session, identifier: UUID, record_number: str = "") -> Attachment | None:
    """One attachment, and only of that record when one is named."""
    found = session.get(Attachment, identifier)
    return None if found is None or record_number not in {"", found.record_number} else found
