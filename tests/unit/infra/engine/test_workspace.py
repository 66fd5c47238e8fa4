from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.engine.workspace import backend_url, launcher
from infra.paths import EstatePaths
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "file:///srv/lab/pulumi?metadata=skip"),
        ("file:///shared", "file:///shared?metadata=skip"),
        ("file:///shared?no_tmp_dir=true", "file:///shared?no_tmp_dir=true&metadata=skip"),
        ("file:///shared?metadata=skip", "file:///shared?metadata=skip"),
        ("s3://team-state?region=cn-north-1", "s3://team-state?region=cn-north-1"),
    ],
)
def test_a_local_backend_keeps_no_attribute_files(given: str, used: str) -> None:
    assert backend_url(EstatePaths("lab", Path("/srv")), given) == used


PARENT = """
import subprocess, sys
engine = subprocess.Popen([sys.argv[1], "600"])
print(engine.pid, flush=True)
sys.stdin.read()
"""


def test_the_engine_ends_with_the_run_that_started_it(tmp_path: Path) -> None:
    script = launcher(EstatePaths("lab", tmp_path), Path("/bin/sleep"))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        engine = psutil.Process(int(run.stdout.readline()))
        eventually(lambda: engine.name() == "sleep", seconds=10)  # a shell and setpriv before that
        run.kill()
        _, alive = psutil.wait_procs([engine], timeout=10)
    for process in alive:
        process.kill()
    assert not alive
