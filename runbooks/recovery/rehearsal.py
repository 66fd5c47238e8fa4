"""The rehearsal: from the copies in the other region alone to a platform that serves, on scratch hosts.

Which steps, in which order; `infra.steps` carries them out, and the phases are timed by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.steps.converging import look, only
from infra.steps.model import Step
from infra.steps.up import prepare_steps, provision_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.steps.model import Context


def steps_of(gtids: str, compared: Callable[[Context], int]) -> tuple[Step, ...]:
    """Steps from a settled state folder to a platform that serves. `gtids`: the set to be restored.

    `compared`: holds the restored database to its source, before anything may write to it.
    """
    moment = {"mysql_restore_moment": ["gtid", gtids]} if gtids else {}
    return (
        *prepare_steps(),
        *provision_steps(),
        Step("survey", "what the scratch hosts lack: everything", look),
        Step(
            "foundation",
            "names, certificates, time, the depot",
            only("base", "host_firewall", "depot", "sources", "time"),
        ),
        Step("agent", "what reads the copies", only("backup")),
        Step("data", "the database, from base and log", only("mysql", extra=moment)),
        Step("compare", "every row beside its source", compared),
        Step("storage", "the copy of the attachments, to be read", only("mysql_health", "object_mount")),
        Step(
            "platform", "the database router, the platform, its door", only("db_router", "platform", "proxy")
        ),
    )
