"""Templates of the mount and of the copy, rendered for the lab's own inventory."""

from __future__ import annotations

import json
from configparser import ConfigParser
from typing import TYPE_CHECKING, Any

from tests.unit.playbooks.test_templates import bundle, lab, render

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bundle", "lab"]


def remotes(text: str) -> ConfigParser:
    found = ConfigParser()
    found.read_string(text)
    return found


def test_the_mount_calls_its_own_region_by_name_and_tls(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-1", "object_mount", "rclone.conf.j2")
    (section,) = remotes(text).sections()
    store = remotes(text)[section]
    assert store["endpoint"] == "https://s3.cn-north-1.lab.yiyun.internal:443"
    assert (store["access_key_id"], store["no_check_bucket"]) == ("attachments-app", "true")
    assert len(store["secret_access_key"]) == 40


def test_the_mounts_unit_holds_no_key_and_no_cache_of_writes(lab: dict[str, Any], bundle: Path) -> None:
    made = {"object_mount_group_made": {"gid": 990}}
    unit = render(lab, bundle, "app-2", "object_mount", "yiyun-attachments.service.j2", **made)
    assert "Type=notify" in unit
    assert "--vfs-cache-mode=off" in unit
    assert "--gid=990" in unit
    assert lab["_meta"]["hostvars"]["app-2"]["yiyun_secrets"]["object-attachments-app"] not in unit
    assert "Protect" not in "".join(line for line in unit.splitlines() if not line.startswith("#"))


def test_the_copier_knows_both_regions_and_every_declared_copy(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "ops-1", "object_copy", "rclone.conf.j2")
    assert remotes(text).sections() == ["cn-east-2", "cn-north-1"]
    copies = json.loads(render(lab, bundle, "ops-1", "object_copy", "copies.json.j2"))
    assert copies["copies"] == [
        {
            "bucket": "attachments",
            "region": "cn-north-1",
            "copy": "attachments-remote",
            "copy_region": "cn-east-2",
        }
    ]


def test_hosts_know_the_endpoints_they_may_call_only(lab: dict[str, Any], bundle: Path) -> None:
    known = {
        host: [
            line.split()[1]
            for line in render(lab, bundle, host, "base", "hosts.j2").splitlines()
            if line.startswith("100.64.")
        ]
        for host in ("app-1", "ops-1", "db-1", "edge-1")
    }
    near, far = "s3.cn-north-1.lab.yiyun.internal", "s3.cn-east-2.lab.yiyun.internal"
    assert known == {"app-1": [far, near], "ops-1": [far, near], "db-1": [far, near], "edge-1": []}
