"""A moved clock: one unit restarted with libfaketime, because a lab's hosts share the kernel's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks.drills.faults.inside import (
    RESTART_SECONDS,
    drop_in_script,
    has_drop_in,
    holds,
    main_pid,
    must,
    remove_drop_in,
    shell,
    systemctl,
    unit_state,
    within,
)
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import ClockMoved

DROP_IN = "98-yiyun-drill-clock.conf"
PACKAGE, LIBRARY = "libfaketime", "libfaketimeMT.so.1"
"""In the bundle (role base), installed on no host: decision 0030."""
FOLDER = "/run/yiyun-drill-clock"
MAPPED_SECONDS = 10
NEAR_SECONDS = 5
"""Between two looks at two clocks."""


def _order(fault: ClockMoved, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host, "unit": fault.unit}


def _inject(fault: ClockMoved, place: Place) -> None:
    shell(place, fault.host, fetch_script())
    shell(place, fault.host, drop_in_script(fault.unit, DROP_IN), stdin=drop_in(fault.seconds))
    systemctl(place, fault.host, "restart", fault.unit)


def _bites(fault: ClockMoved, place: Place) -> bool:
    """The library moves a clock here by that much, and the unit's process has it."""
    preload = [f"LD_PRELOAD={FOLDER}/{LIBRARY}", f"FAKETIME={offset(fault.seconds)}"]
    real = must(place, fault.host, ["date", "+%s"])
    moved = must(place, fault.host, ["env", *preload, "date", "+%s"])
    if abs(int(moved) - int(real) - fault.seconds) > NEAR_SECONDS:
        return False
    return within(MAPPED_SECONDS, lambda: _mapped(place, fault.host, fault.unit))


def _undo(order: Order, place: Place) -> None:
    host, unit = str(order["host"]), str(order["unit"])
    remove_drop_in(place, host, unit, DROP_IN)
    if _mapped(place, host, unit) or unit_state(place, host, unit) != "active":
        must(place, host, ["systemctl", "restart", unit], seconds=RESTART_SECONDS)
    if not _others(place, host):
        # The library's own leavings in shared memory, too: a process that is killed does not tidy up.
        shell(place, host, f"rm -rf {FOLDER} {FOLDER}.new /dev/shm/faketime_* /dev/shm/sem.faketime_*")


def _is_undone(order: Order, place: Place) -> bool:
    host, unit = str(order["host"]), str(order["unit"])
    left = has_drop_in(place, host, unit, DROP_IN) or _mapped(place, host, unit)
    return not left and unit_state(place, host, unit) == "active"


CLOCK_MOVED = Tool(_order, _inject, _bites, _undo, _is_undone)
"""One unit lives in another time: what it writes, checks and expires goes by it. That takes two restarts."""


def fetch_script(folder: str = FOLDER) -> str:
    """Script that takes the library from the host's only source of packages, without installing it. Pure."""
    return f"""
test -e {folder}/{LIBRARY} && exit 0
rm -rf {folder}.new; mkdir -p {folder}.new; cd {folder}.new
apt-get -o APT::Sandbox::User=root download -qq {PACKAGE} >&2
dpkg-deb -x ./*.deb .
find . -name {LIBRARY} -exec cp --dereference {{}} . \\; -quit
test -e {LIBRARY} || {{ echo "no {LIBRARY} in {PACKAGE}" >&2; exit 1; }}
rm -rf ./*.deb ./usr
chmod 0755 . {LIBRARY}
cd /; rm -rf {folder}; mv {folder}.new {folder}
"""


def drop_in(seconds: int) -> str:
    """The drop-in that moves a unit's wall clock; what waits and times out goes by the real one. Pure."""
    values = {
        "LD_PRELOAD": f"{FOLDER}/{LIBRARY}",
        "FAKETIME": offset(seconds),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    return "[Service]\n" + "".join(f"Environment={name}={value}\n" for name, value in values.items())


def offset(seconds: int) -> str:
    """A relative offset as libfaketime (0.9.10) reads it: signed seconds. Pure."""
    return f"{seconds:+d}"


def _mapped(place: Place, host: str, unit: str) -> bool:
    pid = main_pid(place, host, unit)
    return bool(pid) and holds(place, host, ["grep", "-q", LIBRARY, f"/proc/{pid}/maps"])


def _others(place: Place, host: str) -> bool:
    """Whether another unit of the host still has the drop-in."""
    return holds(place, host, ["sh", "-c", f"ls /run/systemd/system/*.d/{DROP_IN} >/dev/null 2>&1"])
