"""The lock names every file of a bundle, and verification names every difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.bundle.model import LOCK_NAME, LockedFile, read_lock, write_lock
from infra.bundle.verify import verify_bundle
from infra.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for name, text in {"debs/a_1.deb": "deb", "wheels/b.whl": "wheel", "tools/uv": "tool"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    detail = LockedFile(path="debs/a_1.deb", size=0, sha256="", package="a", version="1", roles=("proxy",))
    write_lock(tmp_path, "inputs", [detail])
    return tmp_path


def test_a_fresh_bundle_has_no_problem(bundle: Path) -> None:
    assert verify_bundle(bundle) == []


def test_the_lock_keeps_package_version_and_roles(bundle: Path) -> None:
    file = read_lock(bundle).by_path()["debs/a_1.deb"]
    assert (file.package, file.version, file.roles, file.size) == ("a", "1", ("proxy",), 3)


def test_an_altered_file_of_the_same_size_is_named(bundle: Path) -> None:
    (bundle / "wheels/b.whl").write_text("WHEEL")
    assert verify_bundle(bundle) == ["wheels/b.whl: altered (its SHA-256 is not the one in the lock)"]


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "tools/uv").unlink()
    assert verify_bundle(bundle) == ["tools/uv: missing"]


def test_an_extra_file_is_named(bundle: Path) -> None:
    (bundle / "debs/evil.deb").write_text("x")
    assert verify_bundle(bundle) == ["debs/evil.deb: not in the lock"]


@pytest.mark.parametrize("text", [None, "", "{}", '{"inputs": "x", "files": [{"path": "a"}]}'])
def test_a_folder_without_a_readable_lock_is_refused(bundle: Path, text: str | None) -> None:
    if text is None:
        (bundle / LOCK_NAME).unlink()
    else:
        (bundle / LOCK_NAME).write_text(text)
    with pytest.raises(BadInputError, match="not a bundle"):
        verify_bundle(bundle)
