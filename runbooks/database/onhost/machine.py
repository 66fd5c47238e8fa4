"""On a host: its MySQL's unit, package and directory, and what it can reach. No hold outlives who asks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from runbooks.database.onhost.lines import serve

HOLD = Path("/run/yiyun-mysql-group.hold")
"""While it exists, the member's keeper leaves it alone (role mysql)."""
DATADIR = "/usr/local/lib/yiyun-mysql/mysql_datadir.py"
PACKAGES = ("mysql-server-core", "mysql-client-core")
UNIT = "mysql"
RESERVED = 64 << 20
"""Bytes of a disk that are not worth counting."""


class FailedError(Exception):
    """A command failed; its last words."""


class Machine:
    """The host this runs on."""

    def __init__(self, directory: str, hold: Path = HOLD) -> None:
        self.directory, self._hold = Path(directory), hold
        self.aside = self.directory.with_name(f"{self.directory.name}.replaced")
        """The data that a replacement has put aside, until the new one is proven."""
        self._held = False

    @property
    def handlers(self) -> dict[str, Any]:
        """What can be asked."""
        names = (
            "look",
            "reach",
            "start",
            "restart",
            "refresh",
            "upgrade",
            "hold",
            "set_aside",
            "make",
            "put_back",
            "finish",
        )
        return {name: getattr(self, name) for name in names}

    def look(self) -> dict[str, Any]:
        """The unit's state, the package's versions, bytes of the data and bytes free beside it."""
        disk = shutil.disk_usage(self.directory.parent)
        return {
            "unit": _run(["systemctl", "show", "-P", "ActiveState", UNIT], check=False),
            **self._versions(),
            "bytes": size_of(self.directory),
            "aside": size_of(self.aside) if self.aside.exists() else 0,
            "free": max(0, disk.free - RESERVED),
        }

    def reach(self, targets: list[list[Any]], limit: float) -> dict[str, Any]:
        """Which of these [address, port] take a connection from here."""
        return {"open": [[a, p] for a, p in targets if _connects(a, p, limit)]}

    def start(self) -> dict[str, Any]:
        """Start the server, after whatever failed before."""
        _run(["systemctl", "reset-failed", UNIT], check=False)
        _run(["systemctl", "start", UNIT])
        return {}

    def restart(self) -> dict[str, Any]:
        """Restart the server."""
        _run(["systemctl", "restart", UNIT])
        return {}

    def refresh(self) -> dict[str, Any]:
        """Ask the package sources what they have."""
        _run(["apt-get", "update", "--quiet"])
        return {}

    def upgrade(self) -> dict[str, Any]:
        """Install the newest server of the package source, while the old one runs on. Not started."""
        before = self._versions()
        if before["installed"] != before["candidate"]:
            _run(
                [
                    "apt-get",
                    "install",
                    "--yes",
                    "--quiet",
                    "--only-upgrade",
                    "--no-install-recommends",
                    *PACKAGES,
                ],
                env={"DEBIAN_FRONTEND": "noninteractive"},
            )
        return {"before": before["installed"], "after": self._versions()["installed"]}

    def hold(self, *, on: bool) -> dict[str, Any]:
        """Keep the member's keeper from it, or not."""
        if on:
            self._hold.touch()
        else:
            self._hold.unlink(missing_ok=True)
        self._held = on
        return {}

    def set_aside(self, *, keep: bool) -> dict[str, Any]:
        """Stop the server; put its data aside, or remove them. What an unfinished run made goes."""
        _run(["systemctl", "stop", UNIT])
        if self.directory.exists():
            if keep and not self.aside.exists():
                self.directory.rename(self.aside)
            else:
                shutil.rmtree(self.directory)
        if not keep and self.aside.exists():
            shutil.rmtree(self.aside)
        return {}

    def make(self, estate: str, host: str) -> dict[str, Any]:
        """A new empty data directory, as the role makes it, and the server on it."""
        parent = self.directory.parent
        mount = ["--mount", str(parent)] if parent.is_mount() else []
        owner = ["--estate", estate, "--host", host]
        said = json.loads(_run([DATADIR, "ensure", "--directory", str(self.directory), *owner, *mount]))
        self.start()
        return {"state": said["state"]}

    def put_back(self) -> dict[str, Any]:
        """The data that were set aside in their place again, and the server on them."""
        if not self.aside.exists():
            return {"put_back": False}
        _run(["systemctl", "stop", UNIT])
        shutil.rmtree(self.directory, ignore_errors=True)
        self.aside.rename(self.directory)
        self.start()
        return {"put_back": True}

    def finish(self) -> dict[str, Any]:
        """Remove the data that were set aside."""
        found = self.aside.exists()
        shutil.rmtree(self.aside, ignore_errors=True)
        return {"removed": found}

    def ended(self) -> None:
        """Nobody asks any more."""
        if self._held:
            self._hold.unlink(missing_ok=True)

    def _versions(self) -> dict[str, str]:
        return versions_of(_run(["apt-cache", "policy", PACKAGES[0]], check=False))


def versions_of(policy: str) -> dict[str, str]:
    """Installed and candidate version from `apt-cache policy`; empty without the package."""
    lines = dict(line.strip().split(": ", 1) for line in policy.splitlines() if ": " in line)
    return {"installed": lines.get("Installed", ""), "candidate": lines.get("Candidate", "")}


def size_of(folder: Path) -> int:
    """Bytes that a folder's files take on the disk."""
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(where) / name).lstat().st_blocks * 512
            except FileNotFoundError:  # a running server's file, gone meanwhile
                continue
    return total


def _connects(address: str, port: int, limit: float) -> bool:
    try:
        socket.create_connection((address, port), timeout=limit).close()
    except OSError:
        return False
    return True


def _run(argv: list[str], *, check: bool = True, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C", **(env or {})}
    )
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise FailedError(f"{' '.join(argv[:3])}: {' '.join(words)}")
    return done.stdout.strip()


def main(directory: str) -> None:
    """Serve requests until standard input ends."""
    machine = Machine(directory)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: _stop())
    try:
        serve(machine.handlers, lifetime=4 * 3600)
    finally:
        machine.ended()


def _stop() -> None:
    raise SystemExit(1)
