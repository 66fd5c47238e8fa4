"""The built wheel works in an environment of its own, outside the checkout and without reading it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from infra.bundle.build import input_hash, source_root
from tests.lab.harness import check_schema
from tests.wheel_kit import ROOT, Installed, install_wheel

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("wheel")
    yield install_wheel(folder)
    shutil.rmtree(folder)


def said_json(done: subprocess.CompletedProcess[str]) -> dict:
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout)
    check_schema(result)
    return result


def test_the_checkout_is_really_out_of_reach(installed: Installed) -> None:
    """An estate file that lies in it cannot be read, so nothing else of it can."""
    done = installed.run("preview", "--json", "--estate", str(ROOT / "tests/lab/citest.yaml"))
    assert done.returncode == 4
    assert "no estate file" in said_json(done)["error"]["message"]


def test_it_has_help_for_every_verb(installed: Installed) -> None:
    done = installed.run("--help")
    assert done.returncode == 0, done.stderr
    for verb in ("up", "preview", "lab", "bundle", "doctor"):
        assert verb in done.stdout


def test_it_previews_the_shipped_lab_from_nothing(installed: Installed) -> None:
    done = installed.run("preview", "--json", seconds=280)
    result = said_json(done)
    assert done.returncode == 0, result
    assert {c["action"] for c in result["changes"]} == {"create"}


def test_it_examines_the_machine(installed: Installed) -> None:
    done = installed.run("doctor", "--json")
    assert done.returncode in {0, 1}
    assert said_json(done)["findings"]


def test_it_knows_the_same_bundle_as_the_checkout(installed: Installed) -> None:
    """So one that was built in a checkout, or came by `bundle use`, is found by either."""
    done = installed.run("bundle", "list", "--json")
    assert done.returncode == 0, done.stderr
    hosts = next(p for p in said_json(done)["parts"] if p["kind"] == "hosts")
    assert hosts["version"] == input_hash(source_root())


def test_it_names_no_path_of_the_checkout(installed: Installed) -> None:
    """Installed files speak of themselves; nothing points back (a path file, an editable link)."""
    package = next(installed.python.parents[1].glob("lib/python*/site-packages"))
    pointing = [
        str(path)
        for path in package.rglob("*")
        if path.is_file()
        and path.suffix in {".pth", ".py", ".yaml", ".yml", ".cfg"}
        and str(ROOT) in _text(path)
    ]
    assert pointing == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
