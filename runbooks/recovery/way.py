"""From the copies in the other region alone to a platform that serves: which steps, in which order.

`infra.steps` carries them out, and the phases are timed by their names. A rehearsal holds the rows to their
source on the way; who takes over for good has no source any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.steps.converging import Manner, look, only
from infra.steps.model import Step
from infra.steps.up import prepare_steps, provision_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.estate.model import Estate
    from infra.steps.model import Context

FOUNDATION = ("base", "host_firewall", "line_gateway", "depot", "sources", "time")


def steps_of(
    estate: Estate, moment: Sequence[str], compared: Callable[[Context], int] | None = None
) -> tuple[Step, ...]:
    """Steps from a settled state folder to a platform that serves.

    `moment`: what the database is restored to, `(gtid, SET)` or `(at, TIME)`; nothing for the newest state.
    `compared`: holds the restored database to its source, before anybody may write to it. What stands on the
    premises is left as it is: it finds the gateways by itself.
    """
    apart = frozenset(h.name for h in estate.hosts if h.site)
    plain = Manner(apart=apart)
    # The agent stores nothing before the database is whole again: what it stores would be of nothing.
    reading = Manner({"backup_reads_only": True}, apart, passing=True)
    data = Manner({"mysql_restore_moment": list(moment)} if moment else {}, apart)
    held = [Step("compare", "every row beside its source", compared)] if compared else []
    return (
        *prepare_steps(),
        *provision_steps(),
        Step("survey", "what the new hosts lack: everything", look),
        Step("foundation", "names, certificates, time, the line, the depot", only(*FOUNDATION, manner=plain)),
        Step("agent", "what reads the copies", only("backup", manner=reading)),
        Step("data", "the database, from base and log", only("mysql", manner=data)),
        *held,
        Step("storage", "the copy of the attachments", only("mysql_health", "object_mount", manner=plain)),
        Step(
            "platform",
            "the database router, the platform, its door",
            only("db_router", "platform", "proxy", manner=plain),
        ),
    )
