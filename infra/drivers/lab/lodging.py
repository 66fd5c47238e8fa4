"""A guest's wire to the internet of the lab that it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab import netlink
from infra.drivers.lab.guests import folder_of, forget, read_guests
from infra.drivers.lab.names import INTERNET, UPLINK, qualified
from infra.errors import YiyunError
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from infra.drivers.lab.guests import Guest


def forget_gone(paths: EstatePaths) -> None:
    """A guest whose router is not there any more (a reboot, a run that was killed) comes back by itself."""
    for guest in read_guests(paths):
        if not netlink.exists(guest.namespace):
            forget(paths, guest.estate)


def join(guest: Guest, home: str) -> bool:
    """Wire a guest's router to a lab's internet, and write it down there. True when anything changed.

    Raises YiyunError when that lab does not run.
    """
    internet = qualified(home, INTERNET)
    if not netlink.exists(internet):
        raise YiyunError(
            f"the lab {home} does not run, on whose internet {guest.estate} stands", hint=f"lab up of {home}"
        )
    text, path = guest.model_dump_json(indent=1), folder_of(EstatePaths(home)) / f"{guest.estate}.json"
    known = path.exists() and path.read_text(encoding="utf-8") == text
    if not known:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text, encoding="utf-8")
    return netlink.connect((internet, guest.port), (guest.namespace, UPLINK)) or not known
