"""Locked requirements are those of the hosts' Python, and installation lists hold the very wheels' hashes."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

from infra.bundle.debs import release_text, security_mirror
from infra.bundle.wheels import LockedRequirement, locked_requirements, write_install_lists

if TYPE_CHECKING:
    from pathlib import Path

EXPORTED = """\
alembic==1.20.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
exceptiongroup==1.3 ; python_full_version < '3.13' \\
    --hash=sha256:dd
Some_Name==2 ; python_version >= '3.13' \\
    --hash=sha256:ee
"""


def test_requirements_of_other_platforms_and_pythons_are_left_out() -> None:
    assert locked_requirements(EXPORTED) == [
        LockedRequirement("alembic", "1.20.1", ("sha256:aa", "sha256:bb")),
        LockedRequirement("some-name", "2", ("sha256:ee",)),
    ]


def test_a_requirement_is_written_with_its_hashes() -> None:
    line = LockedRequirement("a", "1", ("sha256:x", "sha256:y")).line()
    assert line == "a==1 --hash=sha256:x --hash=sha256:y"


def wheel(folder: Path, name: str) -> str:
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("content", name)
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_an_installation_list_has_the_program_and_its_dependencies_only(tmp_path: Path) -> None:
    ours = wheel(tmp_path, "yiyun_app-0.1.0-py3-none-any.whl")
    theirs = wheel(tmp_path, "some_name-2-py3-none-any.whl")
    wheel(tmp_path, "other-1-py3-none-any.whl")
    described = write_install_lists(
        tmp_path, {"yiyun-app": [LockedRequirement("some-name", "2", ())]}, tmp_path
    )
    assert (tmp_path / "yiyun-app.txt").read_text().splitlines() == [
        f"some-name==2 --hash=sha256:{theirs}",
        f"yiyun-app==0.1.0 --hash=sha256:{ours}",
    ]
    assert {(f.package, f.version) for f in described} == {
        ("other", "1"),
        ("some-name", "2"),
        ("yiyun-app", "0.1.0"),
    }


def test_release_carries_the_hash_of_its_index() -> None:
    text = release_text(b"index")
    assert f" {hashlib.sha256(b'index').hexdigest()} 5 Packages" in text.splitlines()


def test_the_machines_own_security_mirror_is_used() -> None:
    listing = "main|Debian|Debian|http://m/debian/\nmain|Debian|Debian-Security|http://m/sec/"
    assert security_mirror(listing, "http://m/debian/") == "http://m/sec/"


def test_without_one_the_archive_beside_the_mirror_is_used() -> None:
    assert (
        security_mirror("main|Debian|Debian|http://m/debian/", "http://m/debian/")
        == "http://m/debian-security"
    )
