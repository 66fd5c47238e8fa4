"""Parts of the playbook: each has a tag of its own, and its inputs decide whether it must run."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING

import pytest

from infra.converge import playbooks_folder
from infra.drift.parts import groups_of, input_hashes, read_parts

if TYPE_CHECKING:
    from pathlib import Path

PLAYBOOKS = playbooks_folder()
INVENTORY = {
    "app": {"hosts": ["app-1"]},
    "db": {"hosts": ["db-1"]},
    "cloud": {"hosts": ["app-1", "db-1"]},
    "ops": {"hosts": []},
    "all": {"vars": {"yiyun_domain": "x"}},
    "_meta": {"hostvars": {"app-1": {"secret": "1"}, "db-1": {"secret": "2"}}},
}


def hashes(inventory=INVENTORY, playbooks: Path = PLAYBOOKS, bundle: str = "b"):
    return input_hashes(read_parts(playbooks), inventory, playbooks, bundle)


def test_every_role_of_the_site_has_a_part_and_names_are_unique() -> None:
    names = [p.name for p in read_parts(PLAYBOOKS)]
    assert len(set(names)) == len(names)
    assert {"base", "sources", "mysql", "platform", "proxy", "collector"} <= set(names)


def test_a_part_knows_the_roles_its_tasks_import() -> None:
    parts = {p.name: p for p in read_parts(PLAYBOOKS)}
    assert set(parts["platform"].roles) >= {"platform", "release"}
    assert set(parts["depot"].roles) >= {"depot", "base"}


def test_hosts_have_the_parts_of_their_groups() -> None:
    found = hashes()
    assert set(found) == {"app-1", "db-1"}
    assert {"platform", "proxy", "base", "time"} <= set(found["app-1"])
    assert "mysql" in found["db-1"]
    assert "mysql" not in found["app-1"]
    assert groups_of(INVENTORY)["all"] == {"app-1", "db-1"}


def test_a_secret_of_one_host_touches_its_parts_and_no_others() -> None:
    changed = copy.deepcopy(INVENTORY)
    changed["_meta"]["hostvars"]["db-1"]["secret"] = "3"
    before, after = hashes(), hashes(changed)
    assert before["app-1"] == after["app-1"]
    assert all(before["db-1"][p] != after["db-1"][p] for p in before["db-1"])
    assert "3" not in str(after["db-1"].keys())


def test_a_changed_template_touches_its_role_alone(tmp_path: Path) -> None:
    copied = tmp_path / "playbooks"
    shutil.copytree(PLAYBOOKS, copied)
    template = copied / "roles/proxy/templates/nginx.conf.j2"
    template.write_text(template.read_text(encoding="utf-8") + "# x\n", encoding="utf-8")
    before, after = hashes(), hashes(playbooks=copied)
    assert {p for p in before["app-1"] if before["app-1"][p] != after["app-1"][p]} == {"proxy"}
    assert before["db-1"] == after["db-1"]


def test_a_changed_release_role_touches_those_that_import_it(tmp_path: Path) -> None:
    copied = tmp_path / "playbooks"
    shutil.copytree(PLAYBOOKS, copied)
    (copied / "roles/release/defaults/main.yml").write_text("x: 1\n", encoding="utf-8")
    before, after = hashes(), hashes(playbooks=copied)
    assert {p for p in before["app-1"] if before["app-1"][p] != after["app-1"][p]} == {"platform", "backup"}


def test_another_bundle_touches_everything() -> None:
    before, after = hashes(), hashes(bundle="c")
    assert all(before[h][p] != after[h][p] for h in before for p in before[h])


def test_a_role_without_a_tag_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(
        "- hosts: all\n  roles:\n    - {role: base, tags: [base]}\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="base needs exactly one tag part_NAME"):
        read_parts(tmp_path)
