"""The installed wheel sees the running lab as the checkout does."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.wheel_kit import install_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.harness import Lab


def test_the_wheel_finds_nothing_to_change_in_the_running_lab(lab: Lab, tmp_path: Path) -> None:
    installed = install_wheel(tmp_path)
    estate = installed.home / "estate.yaml"
    shutil.copyfile(lab.source, estate)
    done = installed.run_on_lab("preview", "--exit-code", "--json", "--estate", str(estate))
    assert (done.returncode, json.loads(done.stdout)["changes"]) == (0, []), done.stderr
    looked = installed.run_on_lab("status", "--json", "--estate", str(estate))
    assert looked.returncode == 0, looked.stdout
