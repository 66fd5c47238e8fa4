"""Services of every host, and those of the operations host."""

from __future__ import annotations

from infra.services.model import EVERY_HOST, OPERATORS, Caller, Port, Save, SecretFile, Service

ALL_ROLES = ("app", "db", "ora", "ops", "edge", "hospital")

BASTION = Service(
    name="bastion",
    roles=("ops", "edge"),
    purpose="the only way in by SSH: ops-1 for the cloud, edge-1 for the premises",
    keeps_nothing="a way through sshd",
)
SSHD = Service(
    name="sshd",
    roles=ALL_ROLES,
    purpose="administration by key",
    listens=(Port("ssh", 22, "administration", (Caller("bastion"),)),),
    units=("ssh",),
    owned_files=("/etc/ssh/sshd_config.d/10-yiyun.conf",),
    secret_files=(SecretFile("/etc/ssh/ssh_host_ed25519_key"),),
    health="port ssh",
    keeps_nothing="host keys are made anew and signed by the estate's authority",
)
HOST_FIREWALL = Service(
    name="host-firewall",
    roles=ALL_ROLES,
    purpose="the second wall: the same flows as the security group, on the host itself",
    units=("nftables",),
    owned_files=(
        "/etc/yiyun/wall.nft",
        "/etc/nftables.d/wall.nft",
        "/etc/nftables.conf",
        "/etc/systemd/system/nftables.service.d/10-yiyun.conf",
    ),
    health="the kernel's rules are the confirmed ones",
    keeps_nothing="its rules are derived from the estate file",
)
HARDENING = Service(
    name="hardening",
    roles=("app", "db", "ora", "ops", "edge"),
    purpose="what a host offers, records and refuses: GB/T 22239-2019, third level",
    units=("yiyun-updates.timer", "logrotate.timer"),
    owned_files=(
        "/etc/ssh/sshd_config.d/05-yiyun-hardening.conf",
        "/etc/issue.net",
        "/etc/sudoers.d/10-yiyun",
        "/etc/profile.d/50-yiyun.sh",
        "/etc/security/faillock.conf",
        "/etc/security/limits.d/50-yiyun.conf",
        "/etc/systemd/system.conf.d/50-yiyun.conf",
        "/etc/sysctl.d/50-yiyun-hardening.conf",
        "/etc/systemd/journald.conf.d/20-yiyun-retention.conf",
        "/etc/logrotate.d/yiyun",
        "/etc/apt/apt.conf.d/52yiyun-updates",
        "/etc/audit/auditd.conf",
        "/etc/audit/rules.d/50-yiyun.rules",
    ),
    health="every check of the suite",
    saves=(Save("files", ("/var/log/audit",), optional=True),),
)
BASTION_DOOR = Service(
    name="bastion-door",
    roles=("ops", "edge"),
    purpose="operators reach the bastion itself from their own networks",
    listens=(Port("ssh", 22, "operators' door", (Caller(OPERATORS),)),),
    units=("ssh",),
    keeps_nothing="a way through sshd",
)
TIME = Service(
    name="time",
    roles=("ops",),
    purpose="one clock for the estate: audit, certificates and restores by time depend on it",
    listens=(Port("ntp", 123, "time", (Caller(EVERY_HOST), Caller("collector", over_line=True)), "udp"),),
    units=("chrony",),
    owned_files=("/etc/chrony/conf.d/yiyun.conf",),
    keeps_nothing="a clock",
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
    saves=(Save("files", ("/data/depot",)),),
)
