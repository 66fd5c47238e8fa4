"""The steps of `lab up` after a stop or a reboot: nothing is redeployed."""

from __future__ import annotations

from infra.converge import ConvergeRequest, converge
from infra.doctor import require_machine
from infra.drift.records import read_record
from infra.drift.remote import collect
from infra.drivers.lab.hosts import coming_public_keys, host_public_keys
from infra.drivers.lab.realise import realise
from infra.drivers.lab.settings import settings_of, write_settings
from infra.existing import believed_keys, forget_departed, let_operators_in, require_keys
from infra.reach import wait_reachable, write_ssh_files
from infra.steps.bastions import open_bastions
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
    """Pin the host keys, tell bastions of hosts that joined, let the operators in where a machine existed
    already, wait until all answer.

    Hosts that were converged before are asked what they are made of: that they answer is the proof, and
    the step `survey` need not ask again.
    """
    estate, paths = context.estate, context.paths
    forget_departed(estate, paths)
    keys = {**host_public_keys(paths), **believed_keys(estate, paths)}
    coming = coming_public_keys(paths)
    changed = write_ssh_files(estate, paths, keys, coming)  # first: a key may be learnt through a bastion
    require_keys(estate, keys)
    if all(read_record(paths, h.name).state for h in estate.hosts):
        states = collect(paths, estate.hosts)
        if None not in states.values():
            context.results["states"] = states
            return int(changed)
    opened = open_bastions(context)
    wait_reachable([h for h in estate.hosts if not h.exists], paths)
    told = let_operators_in(estate, paths, Material(estate, paths).operator_key(), context.progress)
    wait_reachable([h for h in estate.hosts if h.exists], paths)
    return int(changed) + opened + told


def _recover(context: Context) -> int:
    request = ConvergeRequest(playbook="recover.yml")
    return converge(context.paths, context.source, request, context.progress).changed
