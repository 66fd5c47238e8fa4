"""Object storage: the provider's service, its mount on the application hosts, its copy far away."""

from __future__ import annotations

from infra.services.model import OPERATORS, BucketGrant, Caller, Port, Save, SecretFile, SecretSpec, Service

ATTACHMENTS = "attachments"
"""The platform's bucket of attachments, by its name in the estate."""

OBJECT_STORAGE = Service(
    name="object-storage",
    roles=(),
    managed=True,
    purpose="versioned buckets over HTTPS, one endpoint a region",
    listens=(
        Port(
            "s3",
            443,
            "objects",
            (
                Caller("object-mount"),
                Caller("object-copy", across_regions=True),
                Caller("backup", across_regions=True),
                # Of the other region: who has lost the estate begins there.
                Caller(OPERATORS, across_regions=True),
            ),
        ),
    ),
    certificate=True,
    health="https, by the estate's authority",
    saves=(Save("objects"),),
)
MOUNT = BucketGrant("attachments-app", ATTACHMENTS, "add")
"""Of the hosts that show the bucket as a folder."""
OBJECT_MOUNT = Service(
    name="object-mount",
    roles=("app",),
    purpose="the bucket of attachments as a folder, for the platform",
    units=("yiyun-attachments",),
    owned_files=("/etc/yiyun-attachments/rclone.conf", "/etc/systemd/system/yiyun-attachments.service"),
    secret_files=(SecretFile("/etc/yiyun-attachments/rclone.conf"),),
    secrets=(SecretSpec(MOUNT.secret, 40, kind="object-storage-key"),),
    grants=(MOUNT,),
    health="a mount that answers",
    keeps_nothing="a file is in the bucket when its writer has closed it",
)
_COPY = "attachments-copy"
OBJECT_COPY = Service(
    name="object-copy",
    roles=("ops",),
    purpose="keeps the copies of buckets in the remote region",
    units=("yiyun-object-copy.timer",),
    owned_files=("/etc/yiyun-object-copy/rclone.conf", "/etc/yiyun-object-copy/copies.json"),
    secret_files=(SecretFile("/etc/yiyun-object-copy/rclone.conf", "root", "yiyun-object-copy", 0o640),),
    secrets=(SecretSpec(f"object-{_COPY}", 40, kind="object-storage-key"),),
    grants=(
        BucketGrant(_COPY, ATTACHMENTS, "read"),
        BucketGrant(_COPY, ATTACHMENTS, "add", of_copies=True),
    ),
    health="the age of the last complete copy",
    keeps_nothing="it is a copy",
)
