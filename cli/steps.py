"""The steps of `up`, put together: those of infra, and what the layers above it add before the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.steps.model import Step
from infra.steps.up import steps_of as steps_below
from monitoring.look import monitoring_status, wait_until_watched
from monitoring.sync import apply

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.steps.model import Context


def steps_of(estate: Estate) -> tuple[Step, ...]:
    """Steps that bring an estate from nothing to verified and watched, in order."""
    monitoring = Step(
        "monitoring", "hosts, templates and alerts in Zabbix, derived from the estate", _monitoring
    )
    return steps_below(estate, monitoring, zabbix=monitoring_status)


def _monitoring(context: Context) -> int:
    changes = apply(context.estate, context.paths, context.progress)
    if changes:
        wait_until_watched(context.estate, context.paths, context.progress)
    return len(changes)
