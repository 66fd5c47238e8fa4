"""Backup agent: what this host keeps was saved, is in every region, and stays whoever has its keys."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from infra.backup_status import LATE
from infra.estate.backups import stores_of
from infra.services.backup import BACKUP_TRIAL

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("backup")
RUNNING = '[ "$(systemctl is-active yiyun-backup-save.service)" = activating ]'
LONGEST_S = 300
"""Of a run that a timer began meanwhile."""


def journal(on: Machine) -> dict[str, Any]:
    """What this host wrote into its catalogue, when nothing is being saved; what each region has of it."""
    on.shell.run(f"timeout {LONGEST_S} sh -c 'while {RUNNING}; do sleep 1; done'")
    return dict(json.loads(on.shell.run("yiyun-backup journal").stdout))


def test_what_it_keeps_was_saved_within_a_day(on: Machine) -> None:
    newest = journal(on)["newest"]
    assert "snapshot" in newest, "nothing was saved yet: systemctl start yiyun-backup-save"
    age = on.facts["now"] - datetime.fromisoformat(newest["snapshot"]).timestamp()
    assert age < LATE.total_seconds(), f"the newest backup is {age / 3600:.0f} h old"


def test_every_region_has_every_entry_of_its_catalogue(on: Machine) -> None:
    told = journal(on)
    assert told["regions"] == {region: told["entries"] for region, _ in stores_of(on.estate)}


def test_its_keys_remove_nothing(on: Machine) -> None:
    """A marker that hides an object, and its version: both are refused."""
    tried = on.shell.run("yiyun-backup try-to-remove")
    told = json.loads(tried.stdout)
    assert told["tried"], told
    assert told["done"] == []


def test_it_cannot_open_the_log_it_stores(on: Machine) -> None:
    if BACKUP_TRIAL in on.services:
        return  # the operations host brings databases back
    found = on.shell.run("grep -rl AGE-SECRET-KEY- /etc/yiyun-backup /var/lib/yiyun-backup")
    assert found.stdout.strip() == ""
