"""A workload ends with the controller that began it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.waiting import eventually

if TYPE_CHECKING:
    import threading

    from runbooks.drills.workloads.pacing import Note

ROOT = Path(__file__).parents[4]
CONTROLLER = """
import subprocess, sys, time
workload = subprocess.Popen([sys.executable, *sys.argv[1:]], start_new_session=True)
print(workload.pid, flush=True)
time.sleep(60)
"""


class Waits:
    """A client that does nothing until it is told to stop."""

    def run(self, began: float, stopped: threading.Event) -> None:
        """Wait."""
        assert began > 0
        stopped.wait(60)


def clients(_note: Note) -> list[Waits]:
    return [Waits()]


def test_a_workload_whose_controller_is_killed_ends(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", CONTROLLER, __file__, str(tmp_path / "history.jsonl")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as controller:
        assert controller.stdout is not None
        workload = psutil.Process(int(controller.stdout.readline()))
        eventually(lambda: (tmp_path / "history.jsonl").exists(), seconds=20, every=0.05)
        assert workload.is_running()
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    eventually(lambda: not alive(workload), seconds=10, every=0.05)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    from runbooks.drills.workloads.pacing import carry_out

    assert os.getppid() > 1
    carry_out(Path(sys.argv[1]), clients, 5)
