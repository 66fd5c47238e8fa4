"""Backups: an agent on each cloud host saves what its services keep, into a bucket of each region."""

from __future__ import annotations

from infra.services.model import BucketGrant, Save, SecretFile, SecretSpec, Service
from infra.services.storage import ATTACHMENTS

BUCKETS = ("backups", "backups-remote")
"""The estate's buckets of backups by name, the near region's first; under object lock."""
ACCOUNT = "backup"
"""The account of every host's agent: it adds, reads and keeps longer; it removes nothing."""
SIGNING, REPOSITORY = "backup-signing", "backup-repository"
"""Each host's own secrets: the key it signs its catalogue with, and the password of its repository."""
PRUNER = "backup-pruning"
"""The account that removes what is over and locked no more. Its key is on no host, but brought for a run."""
READER, SUCCESSOR = "recovery", "takeover"
"""The account that reads the copies: its key is in the recovery kit, and on the hosts of a rehearsal. And the
one that writes attachments there once that region has taken over: until then its key is on no host."""
IDENTITY = "backup-identity"
"""What opens the log (age). Hosts get its public half; whole it is in the recovery kit and, for restores that
nobody has to ask for, on the operations host."""
DATABASE_REPOSITORY = "backup-mysql"
"""Password of the repository that bases are in, which database hosts share."""
FOLDER = "/etc/yiyun-backup"
GROUP = "yiyun-backup"

_GRANTS = tuple(BucketGrant(ACCOUNT, bucket, "keep") for bucket in BUCKETS)
BACKUP = Service(
    name="backup",
    roles=("app", "db", "ora", "ops"),
    purpose="saves what this host's services keep, encrypted here, into both regions",
    units=("yiyun-backup-save.timer", "yiyun-backup-care.timer"),
    owned_files=(
        f"{FOLDER}/backup.toml",
        "/etc/systemd/system/yiyun-backup-save.service",
        "/etc/systemd/system/yiyun-backup-care.service",
    ),
    secrets=(
        SecretSpec(f"object-{ACCOUNT}", 40, kind="object-storage-key"),
        SecretSpec(SIGNING, 64, per_host=True, kind="backup-key"),
        SecretSpec(REPOSITORY, 64, per_host=True, kind="backup-key"),
    ),
    secret_files=(
        SecretFile(f"{FOLDER}/store.secret", "root", GROUP, 0o640),
        SecretFile(f"{FOLDER}/signing.key", "root", GROUP, 0o640),
        SecretFile(f"{FOLDER}/repository.password"),
    ),
    grants=_GRANTS,
    health="the age of the newest entry of its catalogue",
    saves=(Save("files", ("/etc",)),),
)
BACKUP_LOG = Service(
    name="backup-log",
    roles=("db",),
    purpose="streams the member's log into both regions, and takes bases",
    # The stream runs on two of the hosts: its own suite looks for it.
    units=("yiyun-backup-base.timer",),
    data_paths=("/data/backup",),
    owned_files=("/etc/systemd/system/yiyun-backup-stream.service",),
    secrets=(
        SecretSpec("mysql-backup", kind="database-account"),
        SecretSpec(DATABASE_REPOSITORY, 40, kind="backup-key"),
    ),
    secret_files=(
        SecretFile(f"{FOLDER}/mysql.cnf", "root", GROUP, 0o640),
        SecretFile(f"{FOLDER}/mysql.password"),
    ),
    health="every region has the log of some seconds ago",
    keeps_nothing="what waits here to be sent is the member's own log",
)
BACKUP_PRUNING = Service(
    name="backup-pruning",
    roles=(),
    purpose="removes backups whose time is over, from the operations host, when an operator asks for it",
    secrets=(SecretSpec(f"object-{PRUNER}", 40, kind="object-storage-key"),),
    grants=tuple(BucketGrant(PRUNER, bucket, "prune") for bucket in BUCKETS),
    health="the age of the newest run",
    keeps_nothing="it only removes",
)
BACKUP_RECOVERY = Service(
    name="backup-recovery",
    roles=(),
    purpose="reads the copies in the other region, to bring the estate back from them alone",
    secrets=tuple(
        SecretSpec(f"object-{name}", 40, kind="object-storage-key") for name in (READER, SUCCESSOR)
    ),
    grants=(
        BucketGrant(READER, BUCKETS[1], "read"),
        BucketGrant(READER, ATTACHMENTS, "read", of_copies=True),
        BucketGrant(SUCCESSOR, ATTACHMENTS, "add", of_copies=True),
    ),
    health="the age of the newest rehearsal",
    keeps_nothing="it only reads",
)
BACKUP_TRIAL = Service(
    name="backup-trial",
    roles=("ops",),
    purpose="restores the database from the far region alone each week, and compares it with its source",
    units=("yiyun-backup-rehearse.timer",),
    data_paths=("/data/restore",),
    owned_files=("/etc/systemd/system/yiyun-backup-rehearse.service",),
    secrets=(
        SecretSpec(IDENTITY, kind="backup-key"),
        SecretSpec(DATABASE_REPOSITORY, 40, kind="backup-key"),
    ),
    secret_files=(
        SecretFile(f"{FOLDER}/identity"),
        SecretFile(f"{FOLDER}/mysql.password"),
        SecretFile(f"{FOLDER}/attachments-copy.secret"),
    ),
    health="the age of the newest restore that was compared and was right",
    keeps_nothing="what it restores is thrown away",
)
