"""What can go wrong, by what the user has to do about it."""

from __future__ import annotations


class BackupError(Exception):
    """Something did not happen. `hint`: the next step."""

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class DamageError(BackupError):
    """What is stored is not what was stored, or part of it is gone. `check`: what found it."""

    code = "damaged"

    def __init__(self, check: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.check = check


class KeyMissingError(BackupError):
    """A key is missing or is another one; the message names which."""

    code = "key"


class RefusedError(BackupError):
    """It would be unsafe."""

    code = "refused"
    exit_code = 3


class BadInputError(BackupError):
    """The question cannot be answered: no such backup, a moment that is not covered."""

    code = "bad_input"
    exit_code = 4
