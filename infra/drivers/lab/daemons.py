"""Long-running helpers that outlive the command that started them: found again by pid and start time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.drivers.lab.settings import settings_path
from infra.errors import YiyunError

if TYPE_CHECKING:
    from infra.paths import EstatePaths

PUBLISHER = "publisher"
NAMES = (PUBLISHER,)
"""All helpers a lab may have."""
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Daemon:
    """A helper process of a lab."""

    name: str
    command: tuple[str, ...]
    version: str
    """Whatever it read at its start; another value means that it must be started anew."""


def run_folder(paths: EstatePaths) -> Path:
    """Pid files and logs of helper processes."""
    return paths.lab / "run"


def publisher(paths: EstatePaths) -> Daemon:
    """The publisher of a lab."""
    path = settings_path(paths)
    version = path.read_text(encoding="utf-8") if path.exists() else ""
    command = (sys.executable, "-m", "infra.drivers.lab.publish", "--estate", paths.estate)
    return Daemon(PUBLISHER, command, version)


def running(paths: EstatePaths, name: str) -> psutil.Process | None:
    """The process a pid file speaks of, if it is still that very process."""
    file = run_folder(paths) / f"{name}.json"
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        process = psutil.Process(noted["pid"])
        same = abs(process.create_time() - noted["started"]) < 0.02 and process.status() != "zombie"
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process if same else None


def noted_version(paths: EstatePaths, name: str) -> str:
    """The version a helper was started with."""
    file = run_folder(paths) / f"{name}.json"
    if not file.exists():
        return ""
    return str(json.loads(file.read_text(encoding="utf-8")).get("version", ""))


def ensure(paths: EstatePaths, daemon: Daemon) -> list[str]:
    """Start a helper that does not run, or that runs with an old version."""
    process = running(paths, daemon.name)
    if process is not None and noted_version(paths, daemon.name) == daemon.version:
        return []
    end(paths, daemon.name)
    folder = run_folder(paths)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{daemon.name}.log"
    environment = {**os.environ, "YIYUN_STATE": str(paths.root.parent)}
    with log.open("ab") as stream:
        child = subprocess.Popen(
            daemon.command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=CHECKOUT,
            env=environment,
            start_new_session=True,
        )
    started = psutil.Process(child.pid).create_time()
    note = {"pid": child.pid, "started": started, "version": daemon.version}
    temporary = folder / f"{daemon.name}.new"
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(folder / f"{daemon.name}.json")
    return [f"{daemon.name}: started"]


def end(paths: EstatePaths, name: str, seconds: float = 5) -> list[str]:
    """End a helper: it is asked, then killed. Absent is fine."""
    process = running(paths, name)
    if process is None:
        return []
    process.terminate()
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(seconds)
    return [f"{name}: ended"]


def wait_for_ports(paths: EstatePaths, name: str, ports: tuple[int, ...], seconds: float = 10) -> None:
    """Wait until a helper listens on all these ports of 127.0.0.1. Raises YiyunError when it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process = running(paths, name)
        if process is None:
            break
        if set(ports) <= listening_ports(process):
            return
        time.sleep(0.05)
    log = run_folder(paths) / f"{name}.log"
    raise YiyunError(f"{name} does not listen on {', '.join(map(str, ports))}", hint=f"see {log}")


def listening_ports(process: psutil.Process) -> set[int]:
    """TCP ports a process listens on."""
    found = process.net_connections(kind="tcp4")
    return {c.laddr.port for c in found if c.status == psutil.CONN_LISTEN}
