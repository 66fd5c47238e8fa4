"""Who is asking: from the session cookie, or from HTTP Basic for FHIR clients."""

import base64
import binascii

from fastapi import Request

from yiyun_app.audit import Reader
from yiyun_app.users import Staff, check_password, find_session, stored_hash
from yiyun_app.web.context import application, client_address
from yiyun_app.web.login import SESSION_COOKIE


class LoginRequiredError(Exception):
    """Nobody is logged in."""


class TooManyAttemptsError(Exception):
    """The account is blocked for this address for some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"blocked for {seconds:.0f} s")
        self.seconds = seconds


def logged_in(request: Request) -> Staff | None:
    """The user of the session cookie."""
    parts = application(request)
    identifier = parts.signer.open(request.cookies.get(SESSION_COOKIE))
    if identifier is None:
        return None
    staff = parts.transaction(lambda session: find_session(session, identifier), idempotent=True)
    if staff:
        request.state.username = staff.username
    return staff


def page_user(request: Request) -> Staff:
    """Dependency of pages: the user, or LoginRequiredError."""
    staff = logged_in(request)
    if staff is None:
        raise LoginRequiredError
    return staff


def api_user(request: Request) -> Staff:
    """Dependency of FHIR: the user of the session or of HTTP Basic, or LoginRequiredError."""
    header = request.headers.get("authorization")
    staff = _basic(request, header) if header else logged_in(request)
    if staff is None:
        raise LoginRequiredError
    return staff


def reader(request: Request, staff: Staff) -> Reader:
    """The user as the access record names them."""
    return Reader(staff.username, client_address(request))


def verify_password(request: Request, username: str, password: str) -> Staff | None:
    """Check a password with the brake on; raise TooManyAttemptsError while it is pulled."""
    parts, address = application(request), client_address(request)
    wait = parts.guard.wait_seconds(username, address)
    if wait:
        raise TooManyAttemptsError(wait)
    known = parts.transaction(lambda session: stored_hash(session, username), idempotent=True)
    if known and parts.guard.remembers(username, password, known[1]):
        return known[0]
    proven = parts.transaction(lambda session: check_password(session, username, password), idempotent=True)
    if proven is None:
        parts.guard.failed(username, address)
        return None
    parts.guard.succeeded(username, address)
    parts.guard.remember(username, password, proven[1])
    return proven[0]


def _basic(request: Request, header: str) -> Staff | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    staff = verify_password(request, username[:64], password[:200]) if colon else None
    if staff:
        request.state.username = staff.username
    return staff
