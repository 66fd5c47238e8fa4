"""The copier's pure parts: what it calls, what it concludes, and that a failure never looks fresh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.programs import load_program

PROGRAM = Path(__file__).parents[3] / "playbooks" / "roles" / "object_copy" / "files" / "object_copy.py"
COPY = {"bucket": "attachments", "region": "near", "copy": "attachments-remote", "copy_region": "far"}


@pytest.fixture(scope="module")
def object_copy() -> Any:
    return load_program(PROGRAM)


def test_it_copies_and_never_deletes(object_copy: Any) -> None:
    argv = object_copy.command({"config": "/c", "authority": "/ca"}, COPY)
    assert argv[:4] == ["rclone", "copy", "near:attachments", "far:attachments-remote"]
    assert not [word for word in argv if "delete" in word or word == "sync"]


def test_a_run_tells_what_it_moved_and_what_went_wrong(object_copy: Any) -> None:
    stats = json.dumps({"level": "notice", "msg": "", "stats": {"bytes": 12, "transfers": 3}})
    assert object_copy.outcome(0, stats) == {"ok": True, "transferred": 3, "bytes": 12, "error": ""}
    error = json.dumps({"level": "error", "msg": "connection refused"})
    failed = object_copy.outcome(1, f"{error}\n{stats}\n")
    assert (failed["ok"], failed["error"]) == (False, "connection refused")
    assert object_copy.outcome(2, "")["error"] == "rclone ended with 2"
    assert object_copy.outcome(1, "panic: out of memory")["error"] == "panic: out of memory"


def test_a_failed_run_leaves_the_age_of_the_last_good_one(object_copy: Any) -> None:
    good = object_copy.merged(COPY, {"ok": True}, "t1", {})
    assert good["complete_at"] == "t1"
    bad = object_copy.merged(COPY, {"ok": False}, "t2", good)
    assert (bad["complete_at"], bad["tried_at"]) == ("t1", "t2")
    assert object_copy.merged(COPY, {"ok": False}, "t1", {})["complete_at"] is None


def test_the_status_of_a_copy_that_was_never_made_is_a_failure(tmp_path: Path) -> None:
    settings = tmp_path / "copies.json"
    status = tmp_path / "status.json"
    settings.write_text(json.dumps({"status": str(status), "copies": [COPY]}))
    argv = [sys.executable, str(PROGRAM), "--status", "--settings", str(settings)]
    first = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert first.returncode == 1
    assert json.loads(first.stdout)["copies"][0]["complete_at"] is None
    status.write_text(json.dumps({"copies": [{**COPY, "ok": True, "complete_at": "t"}]}))
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
