"""Copies of buckets in the remote region: fresh, complete, and made with a key that cannot delete."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from infra.status import COPY_LATE_S

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("object-copy")

RCLONE = "rclone --config=/etc/yiyun-object-copy/rclone.conf --ca-cert=/etc/yiyun/tls/ca.crt --retries=1"


def test_every_declared_copy_is_fresh(on: Machine) -> None:
    known = {c["copy"]: c for c in on.json_of("object-copy")["copies"]}
    for bucket in (b for b in on.estate.buckets if b.copy_of):
        complete = known[bucket.name]["complete_at"]
        assert complete, f"{bucket.name} was never completed: {known[bucket.name].get('error')}"
        age = on.facts["now"] - datetime.fromisoformat(complete).timestamp()
        assert age < COPY_LATE_S, f"{bucket.name} is {age:.0f} s old"


def test_key_cannot_write_the_source_nor_delete_the_copy(on: Machine) -> None:
    for bucket in (b for b in on.estate.buckets if b.copy_of):
        source = next(b for b in on.estate.buckets if b.name == bucket.copy_of)
        attempts = (
            f"echo x | {RCLONE} --low-level-retries=1 rcat {source.region}:{source.name}/.yiyun-refused",
            f"{RCLONE} --low-level-retries=1 delete --rmdirs {bucket.region}:backups-remote",
        )
        for attempt in attempts:
            tried = on.shell.run(f"{attempt} 2>&1")
            assert tried.rc != 0, f"it could: {attempt}"
