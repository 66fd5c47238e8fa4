"""A command on a host: its standard error line by line while it runs, and whole afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra import reach
from infra.errors import YiyunError
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EstatePaths:
    """A host that is this machine's own shell."""
    monkeypatch.setattr(reach, "ssh_argv", lambda _paths, _host, command: list(command))
    return EstatePaths("lab", tmp_path)


def test_lines_come_while_it_runs_and_are_there_in_the_end(paths: EstatePaths) -> None:
    told: list[str] = []
    script = "read word; echo one $word >&2; echo two >&2; echo out; exit 3"
    done = reach.run_on(paths, "db-1", ["sh", "-c", script], stdin="said\n", tell=told.append)
    assert told == ["one said", "two"]
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "one said\ntwo\n")
    quiet = reach.run_on(paths, "db-1", ["sh", "-c", "echo no >&2"])
    assert quiet.stderr == "no\n"


def test_a_limit_is_an_error_with_a_next_step(paths: EstatePaths) -> None:
    with pytest.raises(YiyunError, match="no answer within 0 s"):
        reach.run_on(paths, "db-1", ["sleep", "9"], seconds=0.2, tell=lambda _: None)
