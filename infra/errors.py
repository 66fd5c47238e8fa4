"""What can go wrong, as a person is told of it.

YiyunError            exit 1  something failed
├── RefusedError      exit 3  refused for safety
└── BadInputError     exit 4  the user's input is wrong
    └── EstateError   exit 4  the estate file, with file and line of each problem
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class YiyunError(Exception):
    """A failure with a message, a next step and, where there is one, a place."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def as_json(self) -> dict[str, str]:
        """The `error` object of the JSON contract."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "where": self.where}


class RefusedError(YiyunError):
    """Refused for safety: nothing was changed."""

    exit_code = 3
    code = "refused"


class BadInputError(YiyunError):
    """The user's input is wrong: nothing was changed."""

    exit_code = 4
    code = "bad-input"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with an estate file, where it stands, and what to do about it."""

    where: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} ({self.hint})"


class EstateError(BadInputError):
    """Every problem found in an estate file, not just the first."""

    code = "bad-estate"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        first = self.problems[0]
        message = "; ".join(f"{p.where}: {p.message}" for p in self.problems)
        super().__init__(message, hint=first.hint, where=first.where)
