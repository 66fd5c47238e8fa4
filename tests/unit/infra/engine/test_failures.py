from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from pulumi import automation

from infra.engine.failures import holder_is_gone, last_words, lock_holder, told
from infra.errors import YiyunError

LOCKED = "error: the stack is currently locked: created by {user}@{host} (pid {pid}) at 2026"


def test_a_killed_engine_is_named_as_that() -> None:
    assert last_words("\n code: -9\n stdout: \n stderr: \n") == "it was ended by SIGKILL"


def test_the_last_error_line_is_what_is_told() -> None:
    said = last_words("\n code: 1\n stdout: much\n stderr: warning: a\nerror: b\nerror: c")
    assert said == "error: c"


def test_an_engine_failure_becomes_ours_with_what_its_events_said() -> None:
    result = automation.CommandResult(stdout="", stderr="error: update failed", code=255)
    with pytest.raises(YiyunError, match=r"^the engine failed: no disk$"), told(lambda: "no disk"):
        raise automation.CommandError(result)
    with pytest.raises(YiyunError, match=r"update failed$"), told():
        raise automation.CommandError(result)


def test_a_lock_is_stale_only_when_its_holder_on_this_machine_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = {"user": "ops", "host": socket.gethostname()}
    assert holder_is_gone(LOCKED.format(**here, pid=ended.pid))
    assert not holder_is_gone(LOCKED.format(**here, pid=os.getpid()))
    assert not holder_is_gone(LOCKED.format(user="ops", host="another-machine", pid=ended.pid))
    assert not holder_is_gone("error: something else")


def test_a_killed_holder_that_nobody_reaped_is_gone() -> None:
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    locked = LOCKED.format(user="ops", host=socket.gethostname(), pid=killed.pid)
    assert not holder_is_gone(locked)
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    assert holder_is_gone(locked), "a zombie holds nothing"
    killed.communicate()


def test_a_process_that_began_after_the_lock_is_not_its_holder() -> None:
    here = {"user": "ops", "host": socket.gethostname(), "pid": os.getpid()}
    began = datetime.fromtimestamp(psutil.Process().create_time(), UTC).replace(microsecond=0)
    assert holder_is_gone(LOCKED.format(**here) + f"{began - timedelta(hours=1):-%m-%dT%H:%M:%SZ}")
    assert not holder_is_gone(LOCKED.format(**here) + f"{began + timedelta(hours=1):-%m-%dT%H:%M:%SZ}")


def test_the_holder_of_a_lock_is_named() -> None:
    assert lock_holder(LOCKED.format(user="ops", host="ops-9", pid=7)) == "ops@ops-9 (pid 7)"
