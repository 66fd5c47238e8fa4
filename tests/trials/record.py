"""Where the programs are, and the file that says what a trial was got with and what it showed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.drivers.lab.objectstore_binary import ensure_objectstore_binary
from runbooks.drills.provenance import commit, machine, own_versions
from tests.mysqld import ensure_program

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = {"MYSQLD": "mysqld", "BINLOG": "mysqlbinlog", "DUMP": "mysqldump", "RESTIC": "restic"}
"""What the beds ask for (`YIYUN_TEST_…`) → the bundle's program."""
VERSION = {
    "mysqld": ("MYSQLD", "--version"),
    "restic": ("RESTIC", "version"),
    "versitygw": ("S3", "--version"),
}


def ensure_programs() -> None:
    """Name every program that is not named already, from the bundle and the cache. Raises YiyunError."""
    for named, program in PROGRAMS.items():
        if f"YIYUN_TEST_{named}" not in os.environ:
            os.environ[f"YIYUN_TEST_{named}"] = str(ensure_program(program, say))
    if "YIYUN_TEST_S3" not in os.environ:
        os.environ["YIYUN_TEST_S3"] = str(ensure_objectstore_binary(say))


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


def provenance(command: str) -> dict[str, Any]:
    """What every result file begins with."""
    found = {name: _version(*asked) for name, asked in VERSION.items()}
    return {
        "command": f"python -m tests.trials {command}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": own_versions() | found,
    }


def _version(named: str, word: str) -> str:
    argv = [os.environ[f"YIYUN_TEST_{named}"], word]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found = re.search(r"\bv?(\d+\.\d+\.\d+[-.\w]*)", done.stdout.replace(argv[0], ""))
    return found[1] if found else "unknown"


def write(out: Path, document: dict[str, Any]) -> None:
    """The result file, one finding a line where that is short."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
