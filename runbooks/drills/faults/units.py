"""Faults of one unit's process: killed so that it stays dead, or stopped so that it says nothing."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from infra.errors import YiyunError
from runbooks.drills.faults.inside import (
    bring_back,
    drop_in_script,
    has_drop_in,
    main_pid,
    outer_pid,
    remove_drop_in,
    said,
    shell,
    systemctl,
    unit_state,
    within,
)
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import ProcessKilled, ProcessStopped

HEARD_SECONDS = 3
DROP_IN = "99-yiyun-drill.conf"


def _killed_order(fault: ProcessKilled, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host, "unit": fault.unit}


def _killed_ready(fault: ProcessKilled, place: Place) -> Callable[[], None]:
    """It will not be restarted, and its process is known by this machine's number: the kill takes no time."""
    shell(place, fault.host, drop_in_script(fault.unit, DROP_IN), stdin="[Service]\nRestart=no\n")
    number = outer_pid(place, fault.host, main_pid(place, fault.host, fault.unit))
    if not number:
        raise YiyunError(f"{fault.host}: {fault.unit} has no process", hint="yiyun status")

    def kill() -> None:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            raise YiyunError(f"{fault.host}: {fault.unit} ended by itself", hint="yiyun status") from None

    return kill


def _killed_inject(fault: ProcessKilled, place: Place) -> None:
    _killed_ready(fault, place)()


def _killed_bites(fault: ProcessKilled, place: Place) -> bool:
    """Systemd hears of the death a moment after the kill."""
    dead = {"failed", "inactive", "deactivating"}
    return within(HEARD_SECONDS, lambda: unit_state(place, fault.host, fault.unit) in dead)


def _killed_undo(order: Order, place: Place) -> None:
    host, unit = str(order["host"]), str(order["unit"])
    remove_drop_in(place, host, unit, DROP_IN)
    bring_back(place, host, unit)


def _killed_is_undone(order: Order, place: Place) -> bool:
    host, unit = str(order["host"]), str(order["unit"])
    return not has_drop_in(place, host, unit, DROP_IN) and unit_state(place, host, unit) == "active"


KILLED = Tool(_killed_order, _killed_inject, _killed_bites, _killed_undo, _killed_is_undone, _killed_ready)
"""SIGKILL to a unit's main process. It does not come back by itself before the undo."""


def _stopped_order(fault: ProcessStopped, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host, "unit": fault.unit}


def _stopped_inject(fault: ProcessStopped, place: Place) -> None:
    systemctl(place, fault.host, "kill", "--signal=SIGSTOP", fault.unit)


def _stopped_bites(fault: ProcessStopped, place: Place) -> bool:
    return _stopped(place, fault.host, fault.unit)


def _stopped_undo(order: Order, place: Place) -> None:
    host, unit = str(order["host"]), str(order["unit"])
    said(place, host, ["systemctl", "kill", "--signal=SIGCONT", unit])
    bring_back(place, host, unit)  # its watchdog may have ended it meanwhile


def _stopped_is_undone(order: Order, place: Place) -> bool:
    host, unit = str(order["host"]), str(order["unit"])
    return unit_state(place, host, unit) == "active" and not _stopped(place, host, unit)


STOPPED = Tool(_stopped_order, _stopped_inject, _stopped_bites, _stopped_undo, _stopped_is_undone)
"""SIGSTOP to all of a unit's processes: it holds its connections and answers nothing."""


def _stopped(place: Place, host: str, unit: str) -> bool:
    """Whether the unit's main process stands still, as the kernel says."""
    pid = main_pid(place, host, unit)
    status = said(place, host, ["cat", f"/proc/{pid}/stat"]) if pid else ""
    return status.rpartition(")")[2].split()[:1] == ["T"]
