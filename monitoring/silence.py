"""Silence of others, judged only by a server that was awake to hear them. Pure.

A Zabbix server that stood still (a paused virtual machine, a full disk, a long vacuum) has heard nobody:
without this it would call every database, the platform and the line dead in the second in which it wakes.

Why two items and not a count of ticks in the alert: `nodata` looks at the clock on the wall, every other
function at the moment of the value that is being judged, and a server that wakes judges values of before.
"""

from __future__ import annotations

import re

AWAKE = "(nodata({host}@awake,3s)=0 and nodata({host}@stalled,90s)=1)"
"""It ticks, and did for 90 s: an agent that failed to reach its server asks it again after a minute."""
_SILENT = re.compile(r"nodata\((?P<host>/[^/]+/)[^,()]+,\d+s\)=1")


def judged_awake(expression: str) -> str:
    """Let each `nodata(…)=1` begin a problem only if the server ticked all the while.

    What is a problem already stays one: a server that stumbles takes nothing back. While it ticks, nothing
    is told later than without. `awake` also has Zabbix look at the expression every second, not every 30.
    Both items are those of every host with an agent. An alert with a guard of its own is left as it is.
    """
    if "{TRIGGER.VALUE}" in expression:
        return expression

    def awake(match: re.Match[str]) -> str:
        ticks = AWAKE.format(host=match["host"])
        return f"({match[0]} and ({{TRIGGER.VALUE}}=1 or {ticks}))"

    return _SILENT.sub(awake, expression)
