"""The pages: login, search, a resident's record."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from yiyun_app.attachments import attachments_of
from yiyun_app.audit import record_reads
from yiyun_app.fhir_mapping import page_token, read_page_token
from yiyun_app.identifiers import is_record_number, mask_id_card
from yiyun_app.reference_range import flag
from yiyun_app.residents import facility_identifiers, timeline
from yiyun_app.schema import Observation, Resident
from yiyun_app.users import Staff, end_session, open_session, session_identifier
from yiyun_app.web.access import TooManyAttemptsError, logged_in, page_user, reader, verify_password
from yiyun_app.web.context import application
from yiyun_app.web.login import CSRF_COOKIE, SESSION_COOKIE
from yiyun_app.web.pages_support import render
from yiyun_app.web.problems import ProblemError

router = APIRouter()
MAX_FOUND = 50
RESULTS_PER_PAGE = 100
User = Annotated[Staff, Depends(page_user)]
Text = Annotated[str, Form(max_length=200)]
Token = Annotated[str, Form(pattern="^[0-9a-f]{64}$")]


@router.get("/login")
def login_form(request: Request) -> Response:
    """The login page; whoever is logged in goes on to the search."""
    if logged_in(request):
        return RedirectResponse("/", 303)
    return render(request, "login.html", problem="", username="")


@router.post("/login")
def login(
    request: Request, username: Text, password: Text, form_token: Token, idempotency_key: Token
) -> Response:
    """Check the password and open a session; a repeated POST of the same form opens the same session."""
    parts = application(request)
    if not parts.signer.form_is_ours(request.cookies.get(CSRF_COOKIE), form_token):
        return render(request, "login.html", 403, problem="form", username=username)
    try:
        staff = verify_password(request, username[:64], password)
    except TooManyAttemptsError as error:
        headers = {"Retry-After": str(int(error.seconds) + 1)}
        return render(request, "login.html", 429, headers, problem="throttled", username=username)
    if staff is None:
        return render(request, "login.html", 401, problem="credentials", username=username)
    identifier = session_identifier(parts.signer.key, staff.username, idempotency_key)
    hours = parts.settings.session_hours
    opened = parts.transaction(
        lambda session: open_session(session, staff.username, identifier, hours), idempotent=True
    )
    if not opened:
        return render(request, "login.html", 403, problem="form", username=username)
    request.state.username = staff.username
    response = RedirectResponse("/", 303)
    response.set_cookie(
        SESSION_COOKIE, parts.signer.seal(identifier), secure=True, httponly=True, samesite="lax", path="/"
    )
    return response


@router.post("/logout")
def logout(request: Request, form_token: Token) -> Response:
    """End the session; ending it twice is the same as once, so the session is its own idempotency key."""
    parts = application(request)
    if not parts.signer.form_is_ours(request.cookies.get(CSRF_COOKIE), form_token):
        raise ProblemError(403, "the form is not from this browser")
    identifier = parts.signer.open(request.cookies.get(SESSION_COOKIE))
    if identifier is not None:
        parts.transaction(lambda session: end_session(session, identifier), idempotent=True)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/")
def search(request: Request, staff: User, q: str = "") -> Response:
    """Search by name, pinyin initials, record number or ID number."""
    parts, who, text = application(request), reader(request, staff), q.strip()[:100]

    def work(session: Session) -> list[tuple[Resident, str]]:
        found = parts.residents.search(session, text, MAX_FOUND + 1)
        record_reads(session, who, "search", [item.record_number for item in found[:MAX_FOUND]])
        return [(item, _masked(parts.residents.id_card(item))) for item in found]

    found = parts.transaction(work, idempotent=True) if text else []
    return render(
        request, "search.html", staff=staff, q=text, found=found[:MAX_FOUND], more=len(found) > MAX_FOUND
    )


@router.get("/residents/{record_number}")
def resident_page(request: Request, staff: User, record_number: str, after: str = "") -> Response:
    """A resident's record: who they are and the timeline of results, newest first."""
    parts, who = application(request), reader(request, staff)
    try:
        position = read_page_token(after) if after else None
    except ValueError as error:
        raise ProblemError(404, str(error)) from None

    def work(session: Session) -> dict[str, Any] | None:
        resident = session.get(Resident, record_number)
        if resident is None:
            return None
        record_reads(session, who, "record", [record_number])
        results = timeline(session, record_number, RESULTS_PER_PAGE + 1, position)
        shown = results[:RESULTS_PER_PAGE]
        return {
            "resident": resident,
            "id_card": _masked(parts.residents.id_card(resident)),
            "identifiers": facility_identifiers(session, [record_number]),
            "results": [(row, _direction(row)) for row in shown],
            "attachments": attachments_of(session, record_number),
            "older": page_token(shown[-1]) if len(results) > RESULTS_PER_PAGE else "",
        }

    values = parts.transaction(work, idempotent=True) if is_record_number(record_number) else None
    if values is None:
        raise ProblemError(404, "no such resident")
    limit = parts.settings.attachments_max_bytes if parts.attachments else 0
    return render(request, "resident.html", staff=staff, newest=not after, attachments_limit=limit, **values)


def _direction(row: Observation) -> str:
    return (
        ""
        if row.status == "cancelled"
        else flag(row.value, row.comparator, row.reference_range, row.abnormal_flag)
    )


def _masked(number: str | None) -> str:
    return mask_id_card(number) if number else ""
