"""The history of a workload: one JSON line an operation, and what every member held at the end.

Times are seconds of one monotonic clock since the drill began. `unknown` is kept apart from `fail`: an error
at or after COMMIT (2013, 2006, 3100, a timeout) says nothing about the transaction (MySQL 9.7, measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from infra.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Kind = Literal["append", "set", "get", "transfer", "snapshot"]
Outcome = Literal["ok", "fail", "unknown"]
WRITES: frozenset[Kind] = frozenset({"append", "set", "transfer"})


class Operation(BaseModel):
    """One operation of one client.

    `target`: the list, the register, or the bank. `value`: the element appended (unique over the drill), the
    version set (rising per register, one writer each), the version read, or the total seen by a snapshot.
    `intended`: when the schedule wanted it; from there a wait is counted, so that a stall is not hidden.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: int
    number: int
    kind: Kind
    target: str
    value: int | None
    intended: float
    began: float
    ended: float
    outcome: Outcome
    member: str = ""
    """Who answered: the database member, or the host of the platform."""
    error: str = ""
    """Of an operation that was served in the end: what the first try that was not met with."""
    tries: int = 1
    """How often it was asked for; a write again under its idempotency key only."""

    @property
    def acknowledged(self) -> bool:
        """A write that was said to be stored."""
        return self.outcome == "ok" and self.kind in WRITES


class Held(BaseModel):
    """What one member held after the drill, at the same GTID set as the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: str
    gtid_set: str
    lists: dict[str, list[int]]
    registers: dict[str, int]
    total: int
    """Sum of the bank's accounts."""


_OPERATIONS = TypeAdapter(Operation)


def read_history(path: Path) -> list[Operation]:
    """Operations of a history file in its order. Raises BadInputError naming the line that is none.

    A last line without its end is what a killed writer leaves: it is passed over.
    """
    operations: list[Operation] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            operations.append(_OPERATIONS.validate_json(line))
        except ValidationError as error:
            if _is_torn_tail(path, number):
                break
            raise BadInputError(
                f"{path.name}:{number} is no operation", hint="the file was changed or is of another version"
            ) from error
    return operations


def write_lines(operations: Iterable[Operation]) -> str:
    """The text of a history file."""
    return "".join(op.model_dump_json() + "\n" for op in operations)


def _is_torn_tail(path: Path, number: int) -> bool:
    content = path.read_bytes()
    return not content.endswith(b"\n") and number == content.count(b"\n") + 1
