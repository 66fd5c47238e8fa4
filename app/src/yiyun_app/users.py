"""Staff accounts and their login sessions."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from yiyun_app.database import utc_now
from yiyun_app.errors import UserError
from yiyun_app.retry import RestartTransactionError, is_duplicate_key
from yiyun_app.schema import LoginSession, StaffUser

Role = Literal["operator", "doctor"]
MIN_PASSWORD_LENGTH = 10
_hasher = PasswordHash((Argon2Hasher(),))
_DECOY = _hasher.hash("a password of nobody")


@dataclass(frozen=True)
class Staff:
    """Who is logged in."""

    username: str
    display_name: str
    role: str


def set_user(session: Session, username: str, display_name: str, role: Role, password: str) -> bool:
    """Create the account or bring it to these values; return whether anything changed. Raises UserError."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise UserError(f"the password is shorter than {MIN_PASSWORD_LENGTH} characters")
    user = session.get(StaffUser, username, with_for_update=True)
    if user is None:
        user = StaffUser(username=username, password_hash="")
        session.add(user)
    same = (user.display_name, user.role) == (display_name, role)
    if same and user.password_hash and _hasher.verify(password, user.password_hash):
        return False
    user.display_name, user.role, user.changed_at = display_name, role, utc_now()
    user.password_hash = _hasher.hash(password)
    try:
        session.flush()
    except IntegrityError as error:
        if is_duplicate_key(error):
            raise RestartTransactionError from error
        raise
    return True


def check_password(session: Session, username: str, password: str) -> tuple[Staff, str] | None:
    """The account and its stored hash when the password fits; an unknown account costs the same time."""
    user = session.get(StaffUser, username)
    if not _hasher.verify(password, user.password_hash if user else _DECOY) or user is None:
        return None
    return _staff(user), user.password_hash


def stored_hash(session: Session, username: str) -> tuple[Staff, str] | None:
    """The account and its stored password hash, None when there is no such account."""
    user = session.get(StaffUser, username)
    return (_staff(user), user.password_hash) if user else None


def session_identifier(key: str, username: str, form_key: str) -> str:
    """The session that one login form opens: the same when its POST is repeated, and nobody can guess it."""
    return hmac.new(key.encode(), f"session\0{username}\0{form_key}".encode(), hashlib.sha256).hexdigest()


def open_session(session: Session, username: str, identifier: str, hours: float) -> bool:
    """Store a login session; False when this identifier was already ended or belongs to somebody else."""
    found = session.get(LoginSession, _id_hash(identifier))
    now = utc_now()
    if found is not None:
        return found.username == username and found.ended_at is None and found.expires_at > now
    session.add(
        LoginSession(
            id_hash=_id_hash(identifier),
            username=username,
            created_at=now,
            expires_at=now + timedelta(hours=hours),
        )
    )
    try:
        session.flush()
    except IntegrityError as error:
        if is_duplicate_key(error):
            raise RestartTransactionError from error
        raise
    return True


def find_session(session: Session, identifier: str) -> Staff | None:
    """Who is logged in under the identifier; None when ended, expired, or the password changed since."""
    found = session.get(LoginSession, _id_hash(identifier))
    if found is None or found.ended_at is not None or found.expires_at <= utc_now():
        return None
    user = session.get(StaffUser, found.username)
    if user is None or user.changed_at > found.created_at:
        return None
    return _staff(user)


def end_session(session: Session, identifier: str) -> None:
    """Log out."""
    found = session.get(LoginSession, _id_hash(identifier), with_for_update=True)
    if found is not None and found.ended_at is None:
        found.ended_at = utc_now()


def _id_hash(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode()).digest()


def _staff(user: StaffUser) -> Staff:
    return Staff(user.username, user.display_name, user.role)
