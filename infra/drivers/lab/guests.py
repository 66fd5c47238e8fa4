"""Labs on another lab's internet: a recovery stands beside the lab that it recovers, as in the same country.

The guest's router has one wire to the other lab's internet, which is told the guest's public addresses by a
file among its own records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from infra.drivers.lab import netlink
from infra.drivers.lab.names import INTERNET, UPLINK, port_name, qualified
from infra.errors import YiyunError
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from pathlib import Path


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


def _folder(paths: EstatePaths) -> Path:
    return paths.records / "guests"


def read_guests(paths: EstatePaths) -> tuple[Guest, ...]:
    """The guests of a lab, by name."""
    files = sorted(_folder(paths).glob("*.json"))
    return tuple(Guest.model_validate_json(path.read_text(encoding="utf-8")) for path in files)


def forget_gone(paths: EstatePaths) -> None:
    """A guest whose router is not there any more (a reboot, a run that was killed) comes back by itself."""
    for guest in read_guests(paths):
        if not netlink.exists(guest.namespace):
            forget(paths, guest.estate)


def forget(paths: EstatePaths, estate: str) -> None:
    """Take a guest out of the records. Absent is fine."""
    (_folder(paths) / f"{estate}.json").unlink(missing_ok=True)


def join(guest: Guest, home: str) -> bool:
    """Wire a guest's router to a lab's internet, and write it down there. True when anything changed.

    Raises YiyunError when that lab does not run.
    """
    internet = qualified(home, INTERNET)
    if not netlink.exists(internet):
        raise YiyunError(
            f"the lab {home} does not run, on whose internet {guest.estate} stands", hint=f"lab up of {home}"
        )
    text, path = guest.model_dump_json(indent=1), _folder(EstatePaths(home)) / f"{guest.estate}.json"
    known = path.exists() and path.read_text(encoding="utf-8") == text
    if not known:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text, encoding="utf-8")
    return netlink.connect((internet, guest.port), (guest.namespace, UPLINK)) or not known
