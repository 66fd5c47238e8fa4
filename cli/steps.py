"""The steps of `up`, put together: those of infra, and what the layers above it add before the proof."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.steps.converging import bundle_of
from infra.steps.model import Step
from infra.steps.up import steps_of as steps_below
from monitoring.look import monitoring_status, wait_until_watched
from monitoring.sync import apply
from runbooks.backups.own_state import deposit_opener, deposit_state, save_bundle

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.steps.model import Context

RECENT_SECONDS = 10
"""Agents beat every second; the check of what arrives takes 20 s for too old."""


def steps_of(estate: Estate) -> tuple[Step, ...]:
    """Steps that bring an estate from nothing to verified and watched, in order."""
    return steps_below(
        estate,
        monitored=Step(
            "monitoring", "hosts, templates and alerts in Zabbix, derived from the estate", _monitored
        ),
        deposited=Step("deposit", "the estate's own state, encrypted, into both regions", _deposited),
        heard=Step("watched", "every agent has been heard", _heard),
        zabbix=monitoring_status,
    )


def _monitored(context: Context) -> int:
    return len(apply(context.estate, context.paths, context.progress))


def _deposited(context: Context) -> int:
    estate, paths, progress = context.estate, context.paths, context.progress
    bundle = bundle_of(context)
    made = deposit_state(estate, paths, progress) + deposit_opener(estate, paths, bundle, progress)
    return made + save_bundle(estate, paths, bundle, progress)


def _heard(context: Context) -> int:
    """After a change only pulses from now on count: hosts that were stopped have old ones.

    Without one, recent pulses do. An agent whose server was not there yet asks again after a minute.
    """
    since = time.time() - (0 if context.changed else RECENT_SECONDS)
    wait_until_watched(context.estate, context.paths, context.progress, since=since)
    return 0
