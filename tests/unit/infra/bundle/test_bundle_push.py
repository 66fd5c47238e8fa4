"""A push sends what is missing, keeps what is there, and never leaves half a bundle in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.bundle.model import LockedFile, read_lock, write_lock
from infra.bundle.push import missing_files, part_of, push
from infra.bundle.verify import verify_bundle
from infra.errors import BadInputError, YiyunError

if TYPE_CHECKING:
    from pathlib import Path

LOCAL_SHELL = ("sh", "-c")
"""Stands in for `ssh HOST`: runs the same command on this machine."""


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    details = [
        LockedFile(
            path="debs/pg_1.deb", size=0, sha256="", package="pg", version="1", roles=("lab_hospital",)
        )
    ]
    write_lock(root, "inputs", details)
    return root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = {
        "debs/Packages": "all",
        "debs/Packages.lab_hospital": "some",
        "debs/pg_1.deb": "pg",
        "tools/uv": "u",
    }
    return make(tmp_path / "bundle", files)


def test_the_first_push_makes_an_equal_bundle_and_the_second_changes_nothing(
    bundle: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    assert push(bundle, LOCAL_SHELL, str(target))
    assert verify_bundle(target) == []
    assert not push(bundle, LOCAL_SHELL, str(target))


def test_a_changed_file_is_replaced_and_the_rest_is_kept_in_place(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    push(bundle, LOCAL_SHELL, str(target))
    kept = (target / "tools/uv").stat().st_ino
    make(bundle, {"debs/Packages": "more"})
    assert push(bundle, LOCAL_SHELL, str(target))
    assert (target / "debs/Packages").read_text() == "more"
    assert (target / "tools/uv").stat().st_ino == kept


def test_a_file_damaged_on_the_host_is_sent_again(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    push(bundle, LOCAL_SHELL, str(target))
    (target / "tools/uv").write_text("!")
    make(bundle, {"debs/Packages": "more"})
    assert push(bundle, LOCAL_SHELL, str(target))
    assert verify_bundle(target) == []


def test_a_file_that_is_not_what_the_lock_says_is_refused_and_the_old_bundle_stays(
    bundle: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    push(bundle, LOCAL_SHELL, str(target))
    make(bundle, {"tools/uv": "new"})
    (bundle / "tools/uv").write_text("bad")
    with pytest.raises(YiyunError, match="did not arrive"):
        push(bundle, LOCAL_SHELL, str(target))
    assert (target / "tools/uv").read_text() == "u"


def test_a_part_holds_one_roles_packages_with_their_own_index(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    assert push(bundle, LOCAL_SHELL, str(target), "lab_hospital")
    assert sorted(p.name for p in target.rglob("*") if p.is_file()) == [
        "Packages",
        "bundle.lock.json",
        "pg_1.deb",
    ]
    assert (target / "debs/Packages").read_text() == "some"
    assert not push(bundle, LOCAL_SHELL, str(target), "lab_hospital")


def test_only_files_with_another_hash_or_path_are_missing(bundle: Path) -> None:
    lock = read_lock(bundle)
    part, _ = part_of(lock, "lab_hospital")
    assert missing_files(lock.files, None) == list(lock.files)
    assert [f.path for f in missing_files(lock.files, part)] == [
        "debs/Packages",
        "debs/Packages.lab_hospital",
        "tools/uv",
    ]


def test_a_part_for_a_role_the_bundle_does_not_know_is_refused(bundle: Path) -> None:
    with pytest.raises(BadInputError, match="no packages of the role oracle"):
        part_of(read_lock(bundle), "oracle")
