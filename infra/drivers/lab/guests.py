"""Labs on another lab's internet: a recovery stands beside the lab that it recovers, as in the same country.

The guest's router has one wire to the other lab's internet, which is told the guest's public addresses by a
file among its own records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from infra.drivers.lab.names import port_name, qualified

if TYPE_CHECKING:
    from pathlib import Path

    from infra.paths import EstatePaths


class Guest(BaseModel):
    """A lab on this lab's internet: its router, the port that leads there, what is reached behind it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    estate: str
    router: str
    addresses: tuple[str, ...]

    @property
    def port(self) -> str:
        """The internet's interface to it."""
        return port_name(self.estate)

    @property
    def namespace(self) -> str:
        """Full name of its router's namespace."""
        return qualified(self.estate, self.router)


def folder_of(paths: EstatePaths) -> Path:
    """Where a lab keeps its guests, among its records."""
    return paths.records / "guests"


def read_guests(paths: EstatePaths) -> tuple[Guest, ...]:
    """The guests of a lab, by name."""
    files = sorted(folder_of(paths).glob("*.json"))
    return tuple(Guest.model_validate_json(path.read_text(encoding="utf-8")) for path in files)


def forget(paths: EstatePaths, estate: str) -> None:
    """Take a guest out of the records. Absent is fine."""
    (folder_of(paths) / f"{estate}.json").unlink(missing_ok=True)
