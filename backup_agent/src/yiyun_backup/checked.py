"""What a check found, and how much of the data it read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yiyun_backup.errors import BackupError

DAYS = 7
"""In so many daily runs every byte is read once."""


@dataclass
class Checked:
    """What was checked, and what is wrong."""

    region: str
    entries: int = 0
    segments: int = 0
    read_bytes: int = 0
    repositories: list[str] = field(default_factory=list[str])
    elsewhere: list[str] = field(default_factory=list[str])
    """Repositories that were not looked into."""
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    """What is there and harms nothing, in sentences."""

    def found(self, error: BackupError) -> None:
        """One more problem."""
        self.problems.append(str(error))


@dataclass(frozen=True)
class Share:
    """Which part of the data is read in full today: 1 of 7, by the day; or all of it."""

    part: int
    of: int

    @classmethod
    def today(cls) -> Share:
        """The part of this day."""
        return cls(datetime.now(UTC).toordinal() % DAYS + 1, DAYS)

    def takes(self, number: int) -> bool:
        """Whether the object of that number is read."""
        return number % self.of == self.part - 1

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"
