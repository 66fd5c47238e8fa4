#!/usr/bin/python3
"""Keep copies of buckets in another region, and say how old each copy is. Standard library and rclone only.

A copy gets what its source has and loses nothing: what is deleted or overwritten at the source stays, as an
object or as an older version. `--status` prints the last result; its exit code is 0 when every copy was
completed and none has failed since.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/yiyun-object-copy/copies.json")


def command(settings: dict[str, Any], copy: dict[str, str]) -> list[str]:
    """The rclone call of one copy. Holds no secret.

    Times of the stores, not of the files: they come with the listings, so an object costs no request of its
    own, and one that was overwritten is newer than its copy. Pure.
    """
    return [
        *("rclone", "copy", f"{copy['region']}:{copy['bucket']}", f"{copy['copy_region']}:{copy['copy']}"),
        *("--config", settings["config"], "--ca-cert", settings["authority"]),
        *("--update", "--use-server-modtime", "--fast-list", "--transfers=4", "--checkers=8"),
        *("--contimeout=5s", "--timeout=60s", "--low-level-retries=3", "--retries=2"),
        *("--use-json-log", "--stats=24h", "--stats-log-level=NOTICE"),
    ]


def outcome(code: int, log: str) -> dict[str, Any]:
    """What a run did: objects and bytes it moved, and its last error. Pure."""
    moved: dict[str, Any] = {}
    error = ""
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            error = line.strip() or error
            continue
        moved = entry.get("stats") or moved
        if entry.get("level") == "error":
            error = str(entry.get("msg", ""))
    return {
        "ok": code == 0,
        "transferred": int(moved.get("transfers", 0)),
        "bytes": int(moved.get("bytes", 0)),
        "error": "" if code == 0 else error[-300:] or f"rclone ended with {code}",
    }


def merged(
    copy: dict[str, str], result: dict[str, Any], began: str, before: dict[str, Any]
) -> dict[str, Any]:
    """Status of a copy after a run. `complete_at`: everything stored before then is in the copy. Pure."""
    complete = began if result["ok"] else before.get("complete_at")
    return {**copy, **result, "tried_at": began, "complete_at": complete}


def read(path: Path) -> dict[str, Any]:
    """The status file, empty when there is none yet."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"copies": []}
    return found


def write(path: Path, status: dict[str, Any]) -> None:
    """Replace the status file, whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(status, indent=1), encoding="utf-8")
    os.replace(temporary, path)  # noqa: PTH105  as atomic, and read by any Python


def now() -> str:
    """The moment, RFC 3339."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")  # noqa: UP017  also for Python 3.10 tools


def main() -> int:
    """Make every copy once, or print the status. Exit code 1 when a copy is not complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--status", action="store_true")
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    options = parser.parse_args()
    settings = json.loads(options.settings.read_text(encoding="utf-8"))
    path = Path(settings["status"])
    before = {c["copy"]: c for c in read(path)["copies"]}
    if options.status:
        known = [before.get(c["copy"], {**c, "ok": False, "complete_at": None}) for c in settings["copies"]]
        sys.stdout.write(json.dumps({"copies": known}) + "\n")
        return 0 if all(c["ok"] for c in known) else 1
    results: list[dict[str, Any]] = []
    for copy in settings["copies"]:
        began = now()
        done = subprocess.run(command(settings, copy), capture_output=True, text=True, check=False)
        found = merged(copy, outcome(done.returncode, done.stderr), began, before.get(copy["copy"], {}))
        results.append(found)
        before[copy["copy"]] = found
        write(path, {"copies": list(before.values())})
    for result in results:
        sys.stdout.write(json.dumps(result) + "\n")
    return 0 if all(r["ok"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
