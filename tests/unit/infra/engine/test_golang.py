from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.engine import golang
from infra.engine.bootstrap import COMPATIBLE, ENGINE, ENGINE_VERSION
from infra.engine.golang import GoProgram, build, built, progress_line, require_disk
from infra.engine.toolchain import MINIMUM_GO, ensure_go, parse_go_version
from infra.errors import YiyunError

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = GoProgram("tool", "v1.0.0", {"example.org/tool": "v1.0.0"}, {}, "example.org/tool/cmd", "-s")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YIYUN_CACHE", str(tmp_path))
    monkeypatch.delenv("YIYUN_COLD", raising=False)
    return tmp_path


def place(cache: Path, content: bytes) -> Path:
    binary = cache / "go-programs" / PROGRAM.key / "tool"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(content)
    binary.with_name("tool.sha256").write_text(hashlib.sha256(content).hexdigest() + "\n", encoding="ascii")
    return binary


def test_the_engine_and_its_python_side_have_the_same_version() -> None:
    assert importlib.metadata.version("pulumi") == ENGINE_VERSION
    assert f"version.Version=v{ENGINE_VERSION}" in ENGINE.ldflags


@pytest.mark.parametrize(
    ("text", "fits"), [("v3.255.0", True), ("3.255.2", True), ("v3.254.0", False), ("v3.2550.0", False)]
)
def test_only_the_right_minor_version_is_taken(text: str, fits: bool) -> None:
    assert bool(COMPATIBLE.match(text)) == fits


def test_any_part_of_a_recipe_changes_its_key() -> None:
    others = [
        replace(PROGRAM, version="v1.0.1"),
        replace(PROGRAM, requires={"example.org/tool": "v1.0.1"}),
        replace(PROGRAM, replaces={"a.org/b": "c.org/d v1.0.0"}),
        replace(PROGRAM, package="example.org/tool"),
        replace(PROGRAM, ldflags=""),
    ]
    assert len({PROGRAM.key, *(o.key for o in others)}) == 6


def test_the_module_file_pins_versions_and_replacements() -> None:
    lines = ENGINE.go_mod.splitlines()
    assert "require github.com/pulumi/pulumi/pkg/v3 v3.255.0" in lines
    assert any(
        line.startswith("replace github.com/atotto/clipboard => github.com/tgummerer/") for line in lines
    )


def test_a_cached_binary_is_used_while_its_checksum_holds(cache: Path) -> None:
    binary = place(cache, b"#!/bin/true")
    assert built(PROGRAM) == build(PROGRAM, pytest.fail) == binary


def test_a_binary_that_was_tampered_with_is_built_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = place(cache, b"#!/bin/true")
    binary.write_bytes(b"#!/bin/evil")
    built_anew: list[Path] = []
    monkeypatch.setattr(golang, "_build", lambda _program, path, _progress: built_anew.append(path))
    assert built(PROGRAM) is None
    assert build(PROGRAM, lambda _: None) == binary
    assert built_anew == [binary]


CHECK = """
import sys
from pathlib import Path
from infra.engine.coldness import is_fresh
print(is_fresh(Path(sys.argv[1])))
"""

COLD = f"""
import subprocess, sys
def fresh():
    done = subprocess.run([sys.executable, "-c", {CHECK!r}, sys.argv[1]], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()
before = fresh()
open(sys.argv[1], "w").close()
print(before, fresh())
"""


def test_a_cold_run_builds_once_and_then_believes_what_it_built(tmp_path: Path) -> None:
    cached = tmp_path / "binary"
    cached.touch()
    os.utime(cached, (1_700_000_000, 1_700_000_000))
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(cached)],
        env=os.environ | {"YIYUN_COLD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]


def test_without_a_registry_a_build_says_so_and_leaves_nothing_half_built(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        ensure_go(lambda _: None)
    except YiyunError as error:
        pytest.skip(error.message)
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    with pytest.raises(YiyunError, match="registry cannot be reached") as caught:
        build(PROGRAM, lambda _: None)
    assert "GOPROXY" in caught.value.hint
    assert not list((cache / "go-programs").rglob("build-*/"))
    assert built(PROGRAM) is None


def test_too_little_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(YiyunError, match="building tool needs 1000000 GiB") as caught:
        require_disk(tmp_path, 10**6, "building tool")
    assert "YIYUN_CACHE" in caught.value.hint


def test_progress_counts_what_the_log_shows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("go: downloading a v1\ngo: downloading b v1\nruntime\nfmt\nos\n", encoding="utf-8")
    line = progress_line(PROGRAM, log, 12.4)
    assert line == "building tool v1.0.0: 2 modules fetched, 3 packages compiled, 12 s"


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26, 8)), ("go version go1.19 linux/amd64", (1, 19)), ("", (0,))],
)
def test_go_versions_are_compared_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_go_version(text) == version
    assert (version >= MINIMUM_GO) == (version == (1, 26, 8))
