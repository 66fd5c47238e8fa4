"""Services of every host, and those of the operations host."""

from __future__ import annotations

from infra.services.model import EVERY_HOST, OPERATORS, Caller, Port, Service

ALL_ROLES = ("app", "db", "ora", "ops", "edge", "hospital")

BASTION = Service(
    name="bastion",
    roles=("ops", "edge"),
    purpose="the only way in by SSH: ops-1 for the cloud, edge-1 for the premises",
)
SSHD = Service(
    name="sshd",
    roles=ALL_ROLES,
    purpose="administration by key",
    listens=(Port("ssh", 22, "administration", (Caller("bastion"),)),),
    units=("ssh",),
    owned_files=("/etc/ssh/sshd_config.d/10-yiyun.conf",),
    health="port ssh",
)
BASTION_DOOR = Service(
    name="bastion-door",
    roles=("ops", "edge"),
    purpose="operators reach the bastion itself from their own networks",
    listens=(Port("ssh", 22, "operators' door", (Caller(OPERATORS),)),),
    units=("ssh",),
)
TIME = Service(
    name="time",
    roles=("ops",),
    purpose="one clock for the estate: audit, certificates and restores by time depend on it",
    listens=(Port("ntp", 123, "time", (Caller(EVERY_HOST), Caller("collector", over_line=True)), "udp"),),
    units=("chrony",),
    owned_files=("/etc/chrony/conf.d/yiyun.conf",),
)
DEPOT = Service(
    name="depot",
    roles=("ops",),
    purpose="serves the bundle inside the estate, so that no host needs a registry",
    listens=(
        Port("https", 8443, "packages and wheels", (Caller(EVERY_HOST), Caller("collector", over_line=True))),
    ),
    units=("nginx",),
    data_paths=("/data/depot",),
    owned_files=("/etc/nginx/conf.d/depot.conf",),
    certificate=True,
    backup="files",
)
