"""A data disk of an existing machine is used only when it is mounted, and empty or ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[3] / "playbooks/roles/base/files/claim_data.py"


@pytest.fixture
def claim_data(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_program(FILE)
    monkeypatch.setattr(Path, "is_mount", lambda self: self.name != "unmounted")
    return module


def run(module: ModuleType, verb: str, *mounts: Path, owner: str = "lab/app-3") -> int:
    return module.main([verb, "--owner", owner, *map(str, mounts)])


def test_an_empty_disk_is_claimed_once(
    claim_data: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lost+found").mkdir()
    assert run(claim_data, "inspect", tmp_path) == 0
    assert not (tmp_path / ".yiyun-owner").exists()
    assert run(claim_data, "claim", tmp_path) == run(claim_data, "claim", tmp_path) == 0
    assert capsys.readouterr().out.split() == ["unchanged", "changed", "unchanged"]
    (tmp_path / "mysql").mkdir()
    assert run(claim_data, "inspect", tmp_path) == 0


def test_somebody_elses_files_are_refused_and_left(claim_data: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("theirs")
    assert run(claim_data, "claim", tmp_path) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["ledger"]


def test_another_hosts_disk_is_refused(claim_data: ModuleType, tmp_path: Path) -> None:
    assert run(claim_data, "claim", tmp_path, owner="lab/app-4") == 0
    assert run(claim_data, "inspect", tmp_path) == 3


@pytest.mark.parametrize("name", ["unmounted", "absent/x"])
def test_what_is_no_mount_is_refused(claim_data: ModuleType, tmp_path: Path, name: str) -> None:
    (tmp_path / "unmounted").mkdir()
    assert run(claim_data, "inspect", tmp_path / name) == 3


def test_one_bad_disk_keeps_the_other_unclaimed(claim_data: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "unmounted").mkdir()
    assert run(claim_data, "claim", tmp_path / "good", tmp_path / "unmounted") == 3
    assert not (tmp_path / "good/.yiyun-owner").exists()
