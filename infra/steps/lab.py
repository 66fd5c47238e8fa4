"""The steps of `lab up` after a stop or a reboot: nothing is redeployed."""

from __future__ import annotations

from infra.converge import ConvergeRequest, converge
from infra.doctor import require_machine
from infra.drivers.lab.hosts import host_public_keys
from infra.drivers.lab.realise import realise
from infra.reach import wait_reachable, write_ssh_files
from infra.steps.model import Context, Step
from infra.trust.material import Material


def start_steps() -> tuple[Step, ...]:
    """Fabric and hosts again from the records, then the database group, which cannot form itself."""
    return (
        Step("machine", "what this machine must have", _machine),
        Step("realise", "the lab agrees with the records: fabric, disks, hosts", _realise),
        Step("reach", "every host answers by SSH through its bastion", _reach),
        Step("recover", "the database group, from the member with the most transactions", _recover),
    )


def _machine(context: Context) -> int:
    require_machine(context.estate, context.paths)
    return 0


def _realise(context: Context) -> int:
    Material(context.estate, context.paths).write_lab_certificates()
    return len(realise(context.paths, context.progress).changed)


def _reach(context: Context) -> int:
    changed = write_ssh_files(context.estate, context.paths, host_public_keys(context.paths))
    wait_reachable(context.estate, context.paths)
    return int(changed)


def _recover(context: Context) -> int:
    request = ConvergeRequest(playbook="recover.yml")
    return converge(context.paths, context.source, request, context.progress).changed
