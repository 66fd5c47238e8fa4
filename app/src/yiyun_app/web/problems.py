"""Failures in one shape: problem details (RFC 9457), OperationOutcome under /fhir, a page for browsers."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from yiyun_app.errors import AttachmentDamagedError, AttachmentsUnavailableError, DatabaseUnavailableError
from yiyun_app.fhir_mapping import outcome
from yiyun_app.web.access import LoginRequiredError, TooManyAttemptsError
from yiyun_app.web.pages_support import render_error

FHIR_MEDIA_TYPE = "application/fhir+json"
RETRY_AFTER_SECONDS = 2
_log = logging.getLogger(__name__)
_FHIR_CODES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    411: "invalid",
    413: "too-long",
    415: "not-supported",
    422: "invalid",
    429: "throttled",
    503: "transient",
}
_PAGE_PATHS = ("/residents", "/login", "/logout")


class ProblemError(Exception):
    """A failure to be told to the client: status, a sentence, more fields of the problem object."""

    def __init__(self, status: int, detail: str, **fields: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fields = fields


def problem(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, object] | None = None,
) -> Response:
    """The failure in the shape that fits the path."""
    path = request.url.path
    if path.startswith("/fhir"):
        body = outcome(_FHIR_CODES.get(status, "exception"), detail).model_dump_json()
        return Response(body, status, headers, FHIR_MEDIA_TYPE)
    if path == "/" or path.startswith(_PAGE_PATHS):
        return render_error(request, status, headers, str((fields or {}).get("reason", "")))
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request.state.request_id,
        **(fields or {}),
    }
    return JSONResponse(content, status, headers, "application/problem+json")


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ProblemError, _told)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DatabaseUnavailableError, _unavailable)
    app.add_exception_handler(AttachmentsUnavailableError, _no_attachments)
    app.add_exception_handler(AttachmentDamagedError, _damaged)
    app.add_exception_handler(LoginRequiredError, _login)
    app.add_exception_handler(TooManyAttemptsError, _throttled)
    app.add_exception_handler(Exception, _unexpected)


def _told(request: Request, error: Exception) -> Response:
    error = cast("ProblemError", error)
    return problem(request, error.status, error.detail, fields=error.fields)


def _http(request: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)
    return problem(request, error.status_code, str(error.detail), error.headers)


def _invalid(request: Request, _error: Exception) -> Response:
    return problem(request, 422, "the request is not valid")


def _unavailable(request: Request, error: Exception) -> Response:
    _log.warning("database unavailable: %s", error)
    return problem(request, 503, "the database is not available", {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _no_attachments(request: Request, _error: Exception) -> Response:
    return problem(
        request,
        503,
        "the store of attachments is not available; everything else works",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
        {"reason": "attachments"},
    )


def _damaged(request: Request, error: Exception) -> Response:
    _log.error("%s", error)
    return problem(request, 500, "the stored file is damaged; its older versions are in the bucket")


def _login(request: Request, _error: Exception) -> Response:
    if request.url.path.startswith("/fhir"):
        return problem(
            request, 401, "log in first", {"WWW-Authenticate": 'Basic realm="yiyun", charset="UTF-8"'}
        )
    return RedirectResponse("/login", 303)


def _throttled(request: Request, error: Exception) -> Response:
    error = cast("TooManyAttemptsError", error)
    return problem(request, 429, "too many failed logins", {"Retry-After": str(int(error.seconds) + 1)})


def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("unexpected failure", exc_info=error)
    return problem(request, 500, "an unexpected failure; the request id finds it in the log")
