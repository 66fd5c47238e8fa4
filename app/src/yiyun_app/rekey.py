"""Store everything under the current field key, in small transactions beside the running service."""

from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from yiyun_app.crypto import FieldCipher
from yiyun_app.residents import Residents
from yiyun_app.retry import RetryPolicy, run_transaction


def rekey_all(
    new_session: Callable[[], Session], keys: Sequence[bytes], retry_seconds: float, batch: int
) -> int:
    """Store every ID number under the first of the keys; returns how many were not.

    Interrupted, it goes on where it was: what is stored under the first key is not looked at again. Raises
    FieldDecryptionError for a row that opens under none of the keys.
    """
    residents = Residents(FieldCipher(lambda: keys), county="")
    policy, done, after = RetryPolicy(total_seconds=retry_seconds), 0, ""
    while True:
        count, last = run_transaction(
            new_session,
            lambda session, start=after: residents.rekey(session, start, batch),
            idempotent=True,
            policy=policy,
        )
        if not last:
            return done
        done, after = done + count, last
