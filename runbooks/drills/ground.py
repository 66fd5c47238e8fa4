"""A lab as the ground of a drill: its faults by the catalogue's tools, its probes by `status`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError, YiyunError
from infra.status import COPY_LATE_S, collect
from monitoring.look import monitoring_status
from runbooks.drills.engine import Observation
from runbooks.drills.faults.certificates import CERTIFICATE_EXPIRED
from runbooks.drills.faults.clock import CLOCK_MOVED
from runbooks.drills.faults.disks import DISK_FULL, SLOW_DISK
from runbooks.drills.faults.machines import FROZEN, LOST
from runbooks.drills.faults.memory import MEMORY_PRESSURE
from runbooks.drills.faults.network import DNS_GONE, LINE_CUT, LINK_CUT, LINK_POOR, MEMBER_ALONE, QUORUM_CUT
from runbooks.drills.faults.storage import STORAGE_REFUSING
from runbooks.drills.faults.units import KILLED, STOPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbooks.drills.engine import Order
    from runbooks.drills.faults.tool import Place, Tool
    from runbooks.drills.model import Fault

TOOLS: dict[str, Tool] = {
    "process-killed": KILLED,
    "process-stopped": STOPPED,
    "host-frozen": FROZEN,
    "host-lost": LOST,
    "link-cut": LINK_CUT,
    "link-poor": LINK_POOR,
    "members-cut": MEMBER_ALONE,
    "quorum-cut": QUORUM_CUT,
    "disk-full": DISK_FULL,
    "slow-disk": SLOW_DISK,
    "clock-moved": CLOCK_MOVED,
    "memory-pressure": MEMORY_PRESSURE,
    "certificate-expired": CERTIFICATE_EXPIRED,
    "dns-gone": DNS_GONE,
    "line-cut": LINE_CUT,
    "storage-refusing": STORAGE_REFUSING,
}
"""Kind of a fault → what does it in a lab."""
FRESH_SECONDS = 0.3
"""One look at the estate answers all probes of one moment."""
STEP_SECONDS = 0.1


class LabGround:
    """Implements `runbooks.drills.engine.Ground`. `watch`: why the drill must be given up now, or empty."""

    def __init__(self, place: Place, watch: Callable[[], str] = lambda: "") -> None:
        self.place, self._watch = place, watch
        self._looked: tuple[float, dict[str, Any], tuple[str, ...]] | None = None

    def observe(self, probe: str) -> Observation:
        """One look at one probe; what cannot be seen does not hold."""
        if probe not in PROBES:
            return Observation(probe, False, f"no probe {probe}; one of {', '.join(sorted(PROBES))}")
        try:
            fields, problems = self._status()
        except YiyunError as error:
            return Observation(probe, False, error.message)
        wrong = PROBES[probe](fields, problems)
        return Observation(probe, not wrong, "; ".join(wrong) or "as declared")

    def order_for(self, fault: Fault) -> Order:
        """What will undo a fault."""
        return tool_for(fault.kind).order(fault, self.place)

    def ready(self, fault: Fault) -> Callable[[], None]:
        """What does it, with everything done before that no client feels."""
        tool = tool_for(fault.kind)
        return tool.ready(fault, self.place) if tool.ready else partial(tool.inject, fault, self.place)

    def bites(self, fault: Fault) -> bool:
        """Whether it is in force."""
        return tool_for(fault.kind).bites(fault, self.place)

    def undo(self, order: Order) -> None:
        """Undo, as often as asked."""
        tool_for(str(order["kind"])).undo(order, self.place)

    def is_undone(self, order: Order) -> bool:
        """Whether nothing of it is left."""
        return tool_for(str(order["kind"])).is_undone(order, self.place)

    def hold(self, seconds: float) -> str:
        """Let time pass under load."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            reason = self._watch()
            if reason:
                return reason
            time.sleep(min(STEP_SECONDS, max(0.0, until - time.monotonic())))
        return ""

    def _status(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > FRESH_SECONDS:
            seen = collect(self.place.estate, self.place.paths, lambda _: None, monitoring_status)
            self._looked = (time.monotonic(), seen.fields, seen.problems)
        return self._looked[1], self._looked[2]


def tool_for(kind: str) -> Tool:
    """What does and undoes a kind of fault. Raises BadInputError for one that the catalogue does not have."""
    if kind not in TOOLS:
        raise BadInputError(f"no fault {kind}", hint=f"one of {', '.join(sorted(TOOLS))}")
    return TOOLS[kind]


def _members(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    return [f"{m['name']} is {m['state']}" for m in fields["mysql"]["members"] if m["state"] != "ONLINE"]


def _writer(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    return [] if fields["mysql"]["writer"] else ["the routers do not agree on one writer"]


def _platform(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    return [f"{p['host']} is not ready" for p in fields["platform"] if not p["ready"]]


def _line(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    return [f"the path over {p['name']} is down" for p in fields["line"]["paths"] if not p["up"]]


def _some_path(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    return [] if fields["line"]["up"] else ["no path of the line is up"]


def _hosts(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    return [f"{h['name']} does not answer" for h in fields["hosts"] if not h["up"]]


def _edge(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    down = [f"{h['name']} does not answer" for h in fields["hosts"] if "edge" in h["roles"] and not h["up"]]
    return down or ([] if fields["collector"] else ["the collector says nothing"])


def _storage(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    mounts = [m for bucket in fields["object_storage"] for m in bucket.get("mounts", [])]
    return [f"{m['host']}: the attachments do not answer" for m in mounts if not m["answers"]]


def _copies(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    copies = [b for b in fields["object_storage"] if b["copy_of"]]
    return [
        f"{b['name']}: no whole copy within {COPY_LATE_S} s"
        for b in copies
        if b["age_s"] is None or b["age_s"] > COPY_LATE_S
    ]


def _monitoring(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    seen = fields["zabbix"]
    if not seen["reachable"]:
        return ["Zabbix does not answer"]
    missing = seen["hosts_expected"] - seen["hosts_monitored"]
    return [f"{missing} hosts are not watched"] if missing > 0 else []


def _certificates(fields: dict[str, Any], _: tuple[str, ...]) -> list[str]:
    now = datetime.now(UTC)
    over = [c["name"] for c in fields["certificates"] if datetime.fromisoformat(c["not_after"]) <= now]
    return [f"{name} has expired" for name in over]


def _nothing(_: dict[str, Any], problems: tuple[str, ...]) -> list[str]:
    return list(problems)


PROBES: dict[str, Callable[[dict[str, Any], tuple[str, ...]], list[str]]] = {
    "all-members-online": _members,
    "one-writer": _writer,
    "platform-ready": _platform,
    "line-up": _line,
    "line-any-path": _some_path,
    "hosts-up": _hosts,
    "edge-up": _edge,
    "storage-answers": _storage,
    "copies-fresh": _copies,
    "monitoring-reachable": _monitoring,
    "certificates-valid": _certificates,
    "nothing-wrong": _nothing,
}
"""Name → what does not hold, of `status` and its problems."""
