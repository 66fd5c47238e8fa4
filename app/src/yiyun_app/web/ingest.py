"""The gateway's door: POST /ingest/v1/results behind the proxy's mutual TLS."""

import json
import re

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from yiyun_app.ingest import IngestRequest, KeyReusedError, NoIdentifierError, store
from yiyun_app.ingest_message import Message, body_sha256
from yiyun_app.web.context import application, peer_address
from yiyun_app.web.problems import ProblemError

router = APIRouter()
MAX_BODY_BYTES = 4 * 1024 * 1024
CLIENT_HEADER = "x-yiyun-client"
_KEY = re.compile(r"[0-9a-f]{64}")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,128}")


@router.post("/ingest/v1/results")
async def results(request: Request) -> JSONResponse:
    """Store one message: 201 the first time, 200 with the same answer when its key comes again."""
    client = _client(request)
    request.state.username = f"gateway:{client}"
    key = request.headers.get("idempotency-key", "")
    if not _KEY.fullmatch(key):
        raise ProblemError(400, "Idempotency-Key must be 64 hexadecimal digits in lower case")
    body = await _body(request)
    return await run_in_threadpool(_store, request, client, bytes.fromhex(key), body)


def _store(request: Request, client: str, key: bytes, body: object) -> JSONResponse:
    parts = application(request)
    try:
        incoming = IngestRequest(client, key, body_sha256(body), Message.model_validate(body))
    except ValidationError as error:
        raise ProblemError(422, "the message is not valid", errors=_explain(error)) from None
    try:
        stored = parts.transaction(
            lambda session: store(session, parts.residents, parts.settings.county_code, incoming),
            idempotent=True,
        )
    except KeyReusedError:
        raise ProblemError(409, "this Idempotency-Key was used with another body") from None
    except NoIdentifierError as error:
        raise ProblemError(
            422, str(error), errors=[{"where": "patient.identifiers", "what": str(error)}]
        ) from None
    return JSONResponse({"duplicate": stored.duplicate, **stored.answer}, 200 if stored.duplicate else 201)


def _client(request: Request) -> str:
    settings = application(request).settings
    names = request.headers.getlist(CLIENT_HEADER)
    if not settings.is_trusted_proxy(peer_address(request)):
        raise ProblemError(403, "messages are accepted only through the platform's proxy")
    if len(names) != 1 or not _CLIENT.fullmatch(names[0]):
        raise ProblemError(403, "the proxy names no client certificate")
    if settings.ingest_clients and names[0] not in settings.ingest_clients:
        raise ProblemError(403, "this client may not send results")
    return names[0]


async def _body(request: Request) -> object:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise ProblemError(413, f"a message has at most {MAX_BODY_BYTES} bytes")
    try:
        return json.loads(received)
    except (ValueError, RecursionError):
        raise ProblemError(422, "the body is not JSON", errors=[]) from None


def _explain(error: ValidationError) -> list[dict[str, str]]:
    """Where and what, without the offending values, which may name a person."""
    return [
        {"where": ".".join(str(part) for part in item["loc"]), "what": item["msg"]}
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:50]
    ]
