"""Running a transaction against a group that may roll it back, switch its writer or lose the connection.

The classification follows MySQL Group Replication: 1213 (deadlock), 1180 (error during commit) and 3101
(rolled back by certification) are certain rollbacks; 3100 (a replication hook failed) and a connection lost
while COMMIT is in flight leave the outcome unknown; one lost before COMMIT was sent is a rollback.
"""

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from yiyun_app.errors import DatabaseUnavailableError, UnknownOutcomeError

T = TypeVar("T")

ROLLED_BACK = frozenset({1180, 1205, 1213, 3101})
UNKNOWN_AT_COMMIT = frozenset({3100})
NOT_A_WRITER = frozenset({1290, 1792, 1836})
CONNECTION_LOST = frozenset(
    {0, 1053, 1079, 1152, 1153, 1159, 1160, 1161, 1927, 2003, 2006, 2013, 2014, 2055, 4031}
)
CANNOT_CONNECT = frozenset({1040, 1043, 1129, 1203, 2002, 2003, 2005, 2012, 2026})
DUPLICATE_KEY = 1062


class Phase(enum.Enum):
    """How far a transaction had come when it failed."""

    CONNECTING = "connecting"
    EXECUTING = "executing"
    COMMITTING = "committing"


class Verdict(enum.Enum):
    """What a failure means: certainly not stored, perhaps stored, or not worth repeating."""

    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"
    FATAL = "fatal"


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds of the repetition: a total time and the longest pause, both in seconds.

    `refused_seconds`: how long to go on when nothing listens at the database's address. That is no switch of
    the writer: there the host's own router takes the connection. The router itself is gone, and a platform
    on another host can serve the request at once.
    """

    total_seconds: float = 6.0
    refused_seconds: float = 0.2
    longest_pause: float = 0.25
    first_pause: float = 0.01

    def pause(self, attempt: int, draw: Callable[[], float] = random.random) -> float:
        """Jittered pause in seconds after failure number `attempt`: half to all of the doubled step."""
        step = min(self.longest_pause, self.first_pause * 2 ** min(attempt, 20))
        return step * (0.5 + draw() / 2)


class RestartTransactionError(Exception):
    """Raised by work that saw another transaction win a race: roll back and run it again."""


def error_code(error: BaseException) -> int | None:
    """MySQL's error number inside a SQLAlchemy error, or None."""
    original = getattr(error, "orig", None)
    arguments = getattr(original, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def classify(error: BaseException, phase: Phase) -> Verdict:
    """Say what a failure in a phase means for the whole transaction."""
    if isinstance(error, (RestartTransactionError, PoolTimeoutError)):
        return Verdict.ROLLED_BACK
    if not isinstance(error, DBAPIError):
        return Verdict.FATAL
    code = error_code(error)
    if code in UNKNOWN_AT_COMMIT:
        return Verdict.UNKNOWN
    if code in ROLLED_BACK or code in NOT_A_WRITER:
        return Verdict.ROLLED_BACK
    lost = error.connection_invalidated or code in CONNECTION_LOST or isinstance(error, InterfaceError)
    if lost:
        return Verdict.UNKNOWN if phase is Phase.COMMITTING else Verdict.ROLLED_BACK
    if phase is Phase.CONNECTING and code in CANNOT_CONNECT:
        return Verdict.ROLLED_BACK
    return Verdict.FATAL


def is_refused(error: BaseException) -> bool:
    """Whether nothing listens where the database should be."""
    cause = getattr(getattr(error, "orig", None), "original_exception", None)
    return isinstance(cause, ConnectionRefusedError)


def is_duplicate_key(error: IntegrityError) -> bool:
    """Whether an integrity error says that a unique key was taken."""
    return error_code(error) == DUPLICATE_KEY


def run_transaction(
    new_session: Callable[[], Session],
    work: Callable[[Session], T],
    *,
    idempotent: bool,
    policy: RetryPolicy,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Run work in one transaction, repeating it as a whole within the policy's time.

    `idempotent` promises that work only reads, or notices by a key stored in the same transaction that it was
    done; only then is an unknown outcome repeated. Raises DatabaseUnavailableError when the time is over,
    UnknownOutcomeError when a commit's outcome cannot be known, and whatever work raises otherwise.
    """
    deadline = clock() + policy.total_seconds
    attempt = 0
    refused_until: float | None = None
    while True:
        try:
            return _attempt(new_session, work)
        except _AttemptFailedError as failure:
            if failure.verdict is Verdict.UNKNOWN and not idempotent:
                raise UnknownOutcomeError(_summary(failure.error)) from failure.error
            pause = policy.pause(attempt)
            if not is_refused(failure.error):
                refused_until = None
            elif refused_until is None:
                refused_until = clock() + policy.refused_seconds
            if clock() + pause > min(deadline, refused_until or deadline):
                raise DatabaseUnavailableError(_summary(failure.error)) from failure.error
        sleep(pause)
        attempt += 1


class _AttemptFailedError(Exception):
    def __init__(self, error: BaseException, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.error = error
        self.verdict = verdict


def _attempt(new_session: Callable[[], Session], work: Callable[[Session], T]) -> T:
    phase = Phase.CONNECTING
    session = new_session()
    try:
        session.connection()
        phase = Phase.EXECUTING
        result = work(session)
        session.flush()
        phase = Phase.COMMITTING
        session.commit()
        return result
    except (SQLAlchemyError, RestartTransactionError) as error:
        verdict = classify(error, phase)
        if verdict is Verdict.FATAL:
            raise
        if error_code(error) in NOT_A_WRITER | UNKNOWN_AT_COMMIT:
            session.invalidate()
        raise _AttemptFailedError(error, verdict) from error
    finally:
        session.close()


def _summary(error: BaseException) -> str:
    code = error_code(error)
    return f"database error {code}" if code is not None else type(error).__name__
