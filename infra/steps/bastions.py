"""Bastions first: a hardened one passes on to known servers only, so it must hear of a host that joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.converge import ConvergeRequest, converge
from infra.drift.parts import PREFIX
from infra.drift.records import read_record
from infra.inventory import jump_targets
from infra.reach import run_on, wait_reachable
from infra.steps.converging import bundle_of

if TYPE_CHECKING:
    from infra.estate.model import Host
    from infra.paths import EstatePaths
    from infra.steps.model import Context

ANYWHERE = "any"
"""What sshd says of a server that forwards wherever it is asked to, as before it is hardened."""
PART = f"{PREFIX}hardening"


def open_bastions(context: Context) -> int:
    """Let each hardened bastion pass on to every host behind it. Returns how many things were changed.

    The part runs again, and is recorded, when its step comes: it is not worth a survey here.
    """
    behind = {h: set(jump_targets(context.estate, h)) for h in context.estate.hosts}
    known = [h for h, targets in behind.items() if targets and read_record(context.paths, h.name).state]
    wait_reachable(known, context.paths)
    closed = tuple(h.name for h in known if refused(behind[h], settings_of(context.paths, h)))
    if not closed:
        return 0
    extra = {"yiyun_bundle": str(bundle_of(context).path)}
    request = ConvergeRequest(tags=(PART,), limit=closed, extra=extra)
    return converge(context.paths, context.source, request, context.progress).changed


def settings_of(paths: EstatePaths, bastion: Host) -> str:
    """What a bastion's SSH server goes by (`sshd -T`)."""
    return run_on(paths, bastion.name, ["/usr/sbin/sshd", "-T"]).stdout


def refused(wanted: set[str], settings: str) -> set[str]:
    """Which of these `ADDRESS:PORT` an SSH server with such settings (`sshd -T`) does not forward to."""
    lines = (line.split() for line in settings.splitlines() if line.strip())
    permitted = {word for name, *words in lines if name == "permitopen" for word in words}
    return set() if ANYWHERE in permitted or not permitted else wanted - permitted
