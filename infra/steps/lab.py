"""The steps of `lab up` after a stop or a reboot: nothing is redeployed."""

from __future__ import annotations

from infra.converge import ConvergeRequest, converge
from infra.doctor import require_machine
from infra.drift.records import read_record
from infra.drift.remote import collect
from infra.drivers.lab.hosts import host_public_keys
from infra.drivers.lab.realise import realise
from infra.drivers.lab.settings import settings_of, write_settings
from infra.reach import wait_reachable, write_ssh_files
from infra.steps.model import Context, Step
from infra.trust.material import Material


def start_steps() -> tuple[Step, ...]:
    """Fabric and hosts again from the records, then the database group, which cannot form itself."""
    return (
        Step("machine", "what this machine must have", machine),
        Step("realise", "the lab agrees with the records: fabric, disks, hosts", realise_lab),
        Step("reach", "every host answers by SSH through its bastion", reach),
        Step("recover", "the database group, from the member with the most transactions", _recover),
    )


def machine(context: Context) -> int:
    """Refuse before the long part when this machine lacks something."""
    require_machine(context.estate, context.paths)
    return 0


def realise_lab(context: Context) -> int:
    """Make the lab agree with its records and settings."""
    Material(context.estate, context.paths).write_lab_certificates()
    write_settings(context.paths, settings_of(context.estate))
    return len(realise(context.paths, context.progress).changed)


def reach(context: Context) -> int:
    """Pin the host keys and wait until every host answers.

    Hosts that were converged before are asked what they are made of: that they answer is the proof, and
    the step `survey` need not ask again.
    """
    changed = write_ssh_files(context.estate, context.paths, host_public_keys(context.paths))
    if all(read_record(context.paths, h.name).state for h in context.estate.hosts):
        states = collect(context.paths, context.estate.hosts)
        if None not in states.values():
            context.results["states"] = states
            return int(changed)
    wait_reachable(context.estate, context.paths)
    return int(changed)


def _recover(context: Context) -> int:
    request = ConvergeRequest(playbook="recover.yml")
    return converge(context.paths, context.source, request, context.progress).changed
