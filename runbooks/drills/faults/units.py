"""Faults of one unit's process: killed so that it stays dead, or stopped so that it says nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import run_in_host
from infra.errors import YiyunError
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.model import ProcessKilled, ProcessStopped

HEARD_SECONDS = 3
DROP_IN = "99-yiyun-drill.conf"
"""Below /run: a host that restarts has forgotten it."""


def _killed_order(fault: ProcessKilled, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host, "unit": fault.unit}


def _killed_inject(fault: ProcessKilled, place: Place) -> None:
    folder = _drop_ins(fault.unit)
    _shell(place, fault.host, f"mkdir -p {folder} && printf '[Service]\\nRestart=no\\n' > {folder}/{DROP_IN}")
    _systemctl(place, fault.host, "daemon-reload")
    _systemctl(place, fault.host, "kill", "--kill-whom=main", "--signal=SIGKILL", fault.unit)


def _killed_bites(fault: ProcessKilled, place: Place) -> bool:
    """Systemd hears of the death a moment after the kill."""
    deadline = time.monotonic() + HEARD_SECONDS
    while time.monotonic() < deadline:
        if _state(place, fault.host, fault.unit) in {"failed", "inactive", "deactivating"}:
            return True
        time.sleep(0.05)
    return False


def _killed_undo(order: Order, place: Place) -> None:
    host, unit = str(order["host"]), str(order["unit"])
    _shell(place, host, f"rm -f {_drop_ins(unit)}/{DROP_IN}; rmdir {_drop_ins(unit)} 2>/dev/null || true")
    _systemctl(place, host, "daemon-reload")
    if _state(place, host, unit) != "active":
        run_in_host(place.paths, host, ["systemctl", "reset-failed", unit])
        _systemctl(place, host, "start", unit)


def _killed_is_undone(order: Order, place: Place) -> bool:
    host, unit = str(order["host"]), str(order["unit"])
    left = run_in_host(place.paths, host, ["test", "-e", f"{_drop_ins(unit)}/{DROP_IN}"])
    return left.returncode == 1 and _state(place, host, unit) == "active"


KILLED = Tool(_killed_order, _killed_inject, _killed_bites, _killed_undo, _killed_is_undone)
"""SIGKILL to a unit's main process. It does not come back by itself before the undo."""


def _stopped_order(fault: ProcessStopped, _place: Place) -> Order:
    return {"kind": fault.kind, "host": fault.host, "unit": fault.unit}


def _stopped_inject(fault: ProcessStopped, place: Place) -> None:
    _systemctl(place, fault.host, "kill", "--signal=SIGSTOP", fault.unit)


def _stopped_bites(fault: ProcessStopped, place: Place) -> bool:
    return _stopped(place, fault.host, fault.unit)


def _stopped_undo(order: Order, place: Place) -> None:
    host, unit = str(order["host"]), str(order["unit"])
    run_in_host(place.paths, host, ["systemctl", "kill", "--signal=SIGCONT", unit])
    if _state(place, host, unit) != "active":  # its watchdog ended it meanwhile
        run_in_host(place.paths, host, ["systemctl", "reset-failed", unit])
        _systemctl(place, host, "start", unit)


def _stopped_is_undone(order: Order, place: Place) -> bool:
    host, unit = str(order["host"]), str(order["unit"])
    return _state(place, host, unit) == "active" and not _stopped(place, host, unit)


STOPPED = Tool(_stopped_order, _stopped_inject, _stopped_bites, _stopped_undo, _stopped_is_undone)
"""SIGSTOP to all of a unit's processes: it holds its connections and answers nothing."""


def _drop_ins(unit: str) -> str:
    name = unit if "." in unit else f"{unit}.service"
    return f"/run/systemd/system/{name}.d"


def _stopped(place: Place, host: str, unit: str) -> bool:
    """Whether the unit's main process stands still, as the kernel says."""
    pid = run_in_host(place.paths, host, ["systemctl", "show", "-P", "MainPID", unit]).stdout.strip()
    if pid in {"", "0"}:
        return False
    status = run_in_host(place.paths, host, ["cat", f"/proc/{pid}/stat"]).stdout
    return status.rpartition(")")[2].split()[:1] == ["T"]


def _state(place: Place, host: str, unit: str) -> str:
    return run_in_host(place.paths, host, ["systemctl", "show", "-P", "ActiveState", unit]).stdout.strip()


def _systemctl(place: Place, host: str, *words: str) -> None:
    _must(place, host, ["systemctl", *words])


def _shell(place: Place, host: str, script: str) -> None:
    _must(place, host, ["sh", "-c", script])


def _must(place: Place, host: str, argv: list[str]) -> None:
    done = run_in_host(place.paths, host, argv)
    if done.returncode != 0:
        raise YiyunError(f"{host}: {' '.join(argv[:3])}: {done.stderr.strip()}", hint="yiyun drill resume")
