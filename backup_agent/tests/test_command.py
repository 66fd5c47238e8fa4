"""Whatever happens, the answer is one line of JSON that says so."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

from server_kit import Agent, Server
from store_kit import free_port

from yiyun_backup import command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_full_disk_is_told_like_any_other_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")

    config = Agent(tmp_path / "agent", Server(tmp_path, free_port()), {}).write()
    config.write_text(
        config.read_text()
        + '[[regions]]\nname = "near"\nendpoint = "x"\nbucket = "x"\naccount = "x"\nsecret = "x"\n'
    )
    monkeypatch.setitem(command.VERBS, "journal", full)
    assert command.main(["journal", "--config", str(config)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["error"]["code"]) == (False, "failed")
    assert "No space left on device: '/data/x'" in said["error"]["message"]
