"""Attachments as FHIR R4: DocumentReference says what a file is, Binary holds it."""

import base64
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from fhir.resources.R4B.binary import Binary
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.documentreference import DocumentReference

from yiyun_app.schema import Attachment


def document_reference(row: Attachment) -> DocumentReference:
    """What a file is, who stored it, and where its content can be read. SHA-256 goes by an extension, because
    R4 has room for SHA-1 only.
    """
    moment = row.uploaded_at.replace(tzinfo=UTC).isoformat()
    return DocumentReference.model_validate(
        {
            "resourceType": "DocumentReference",
            "id": str(row.id),
            "status": "current",
            "subject": {"reference": f"Patient/{row.record_number}"},
            "date": moment,
            "author": [{"display": row.uploaded_by}],
            "content": [
                {
                    "attachment": {
                        "contentType": row.media_type,
                        "url": f"Binary/{row.id}",
                        "size": row.size,
                        "title": row.file_name,
                        "creation": moment,
                        "extension": [
                            {"url": "urn:yiyun:attachment:sha256", "valueString": row.sha256.hex()}
                        ],
                    }
                }
            ],
        }
    )


def binary(row: Attachment, content: bytes) -> Binary:
    """A file as a resource."""
    body: dict[str, Any] = {
        "resourceType": "Binary",
        "id": str(row.id),
        "contentType": row.media_type,
        "securityContext": {"reference": f"Patient/{row.record_number}"},
        "data": base64.b64encode(content).decode(),
    }
    return Binary.model_validate(body)


def searchset(rows: Sequence[Attachment], base: str, patient: str) -> Bundle:
    """All of a resident's attachments as one page."""
    body: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(rows),
        "link": [{"relation": "self", "url": f"{base}/DocumentReference?patient={patient}"}],
    }
    if rows:
        body["entry"] = [
            {
                "fullUrl": f"{base}/DocumentReference/{row.id}",
                "resource": document_reference(row),
                "search": {"mode": "match"},
            }
            for row in rows
        ]
    return Bundle.model_validate(body)
