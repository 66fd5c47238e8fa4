"""The two programs that run on hosts: the collector reads and hides contents, the mender loses nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from infra.drift import collector, mender
from infra.drift.compare import KINDS


def test_files_are_told_by_kind_owner_mode_and_hash(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "folder").mkdir(mode=0o750)
    secret = tmp_path / "folder" / "key"
    secret.write_text("s3cret", encoding="utf-8")
    secret.chmod(0o640)
    (tmp_path / "link").symlink_to("folder/key")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "__pycache__").mkdir()
    monkeypatch.setattr(collector, "ROOTS", (str(tmp_path),))
    monkeypatch.setattr(collector, "PROGRAMS", ())
    found = {p: e for p, e in collector.files().items() if p.startswith(str(tmp_path))}
    kinds = {Path(p).name: e["kind"] for p, e in found.items() if p != str(tmp_path)}
    assert kinds == {"folder": "folder", "key": "file", "link": "link", "pipe": "special"}
    assert found[str(secret)]["mode"] == "0640"
    assert len(found[str(secret)]["sha256"]) == 64
    assert "s3cret" not in str(found)


def test_what_enabling_and_masking_leave_is_no_file_of_its_own(tmp_path: Path) -> None:
    assert collector.is_mask("/etc/systemd/system/nginx.service", {"kind": "link", "target": "/dev/null"})
    assert not collector.is_mask("/etc/systemd/system/nginx.service", {"kind": "file"})
    assert not collector.is_mask("/etc/localtime", {"kind": "link", "target": "x"})


@pytest.mark.parametrize(
    ("secret", "state"), [("!", "locked"), ("*", "locked"), ("!$y$x", "locked"), ("", "empty")]
)
def test_a_password_shows_its_state_alone(secret: str, state: str) -> None:
    assert collector.password_state(secret) == state
    shown = collector.password_state("$y$j9T$hash")
    assert shown.startswith("set ")
    assert "hash" not in shown
    assert shown != collector.password_state("$y$j9T$other")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("nginx.service", True),
        ("apt-daily.timer", True),
        ("user@0.service", False),
        ("session-1.scope", False),
        ("proc-sys.mount", False),
    ],
)
def test_units_of_interest(name: str, wanted: bool) -> None:
    assert collector.wanted_unit(name) is wanted


def test_kernel_settings_are_read_by_name() -> None:
    assert set(collector.kernel(["net.ipv4.ip_forward", "no.such.thing"])) == {"net.ipv4.ip_forward"}


def test_a_file_that_nobody_declared_is_set_aside_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mender, "ASIDE", tmp_path / "aside")
    folder = tmp_path / "etc" / "thing"
    folder.mkdir(parents=True)
    (folder / "a").write_text("kept", encoding="utf-8")
    said = mender.set_aside({"path": str(folder)})
    assert not folder.exists()
    (kept,) = (tmp_path / "aside").rglob("a")
    assert kept.read_text(encoding="utf-8") == "kept"
    assert str(kept.parent) in said
    assert stat.S_IMODE((tmp_path / "aside").stat().st_mode) == 0o700
    assert mender.set_aside({"path": str(folder)}) == "gone already"


def test_a_link_is_put_back_and_what_stood_there_is_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mender, "ASIDE", tmp_path / "aside")
    current = tmp_path / "current"
    current.write_text("in the way", encoding="utf-8")
    mender.link({"path": str(current), "target": "releases/1"})
    assert str(current.readlink()) == "releases/1"
    assert [p.read_text(encoding="utf-8") for p in (tmp_path / "aside").rglob("current")] == ["in the way"]


def test_a_package_is_not_removed_when_a_declared_one_would_go_with_it(monkeypatch) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], *, check: bool = True) -> str:
        ran.append(argv)
        return "installed" if argv[0] == "dpkg-query" else "Remv hello [1]\nRemv nginx [2]\n"

    monkeypatch.setattr(mender, "run", run)
    with pytest.raises(mender.FailedError, match="nginx would have to go"):
        mender.remove_package({"name": "hello", "others": ["hello"]})
    assert not [argv for argv in ran if "--yes" in argv]
    assert "removed hello, nginx" in mender.remove_package({"name": "hello", "others": ["hello", "nginx"]})


def test_every_kind_of_order_has_somebody_who_carries_it_out() -> None:
    source = Path(mender.__file__).with_name("mending.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in mender.DO)
    assert len(KINDS) == 8
