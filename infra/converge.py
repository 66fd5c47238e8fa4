"""Converge: run the playbooks over an estate, with progress and totals from their events."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.engine.parent import die_with_parent
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.paths import EstatePaths

FORKS = 12
SSH_OPTIONS = "-o ConnectTimeout=30 -o ControlMaster=auto -o ControlPersist=60s"


@dataclass
class ConvergeResult:
    """Totals of one run of the playbooks."""

    changed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    tasks: int = 0
    seconds: float = 0.0
    names: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Events that say what the tasks name (`infra.drift.manifest`)."""
    changes: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """What changed: host, and the task's name."""


@dataclass(frozen=True)
class ConvergeRequest:
    """What to run: a playbook, limited to tags or hosts; `check` changes nothing."""

    tags: tuple[str, ...] = ()
    playbook: str = "site.yml"
    limit: tuple[str, ...] = ()
    check: bool = False
    strategy: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


def playbooks_folder() -> Path:
    """Where the playbooks are: in the checkout, or in the installed wheel."""
    return Path(str(resources.files("playbooks")))


def playbook_argv(request: ConvergeRequest) -> list[str]:
    """`ansible-playbook` argv of a request. Pure; holds no secrets."""
    scripts = Path(sys.executable).parent
    argv = [str(scripts / "ansible-playbook"), "-i", str(scripts / "yiyun-inventory")]
    argv += ["--forks", str(FORKS)]
    for option, values in (("--tags", request.tags), ("--limit", request.limit)):
        if values:
            argv += [option, ",".join(values)]
    if request.check:
        argv += ["--check", "--diff"]
    if request.extra:
        argv += ["--extra-vars", json.dumps(dict(request.extra))]
    return [*argv, str(playbooks_folder() / request.playbook)]


def playbook_environment(paths: EstatePaths, estate_file: str, strategy: str = "") -> dict[str, str]:
    """Environment of `ansible-playbook`: our configuration, our SSH files, mitogen when it is there."""
    environment = {
        "ANSIBLE_CONFIG": str(playbooks_folder() / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(paths.ansible / "tmp"),
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(paths.ansible / "facts"),
        "ANSIBLE_SSH_ARGS": f"-F {paths.ssh_config} {SSH_OPTIONS}",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/yy-{paths.estate}-{os.getuid()}",  # noqa: S108  short: a socket path
        "ANSIBLE_CALLBACK_PLUGINS": str(playbooks_folder() / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "yiyun_events",
        "YIYUN_ESTATE": estate_file,
        "PYTHONUNBUFFERED": "1",
    }
    wanted = strategy or os.environ.get("YIYUN_ANSIBLE_STRATEGY", "")
    mitogen = importlib.util.find_spec("ansible_mitogen")
    if wanted != "linear" and mitogen is not None and mitogen.submodule_search_locations:
        folder = Path(next(iter(mitogen.submodule_search_locations)))
        environment["ANSIBLE_STRATEGY_PLUGINS"] = str(folder / "plugins" / "strategy")
        environment["ANSIBLE_STRATEGY"] = "mitogen_linear"
    return environment


def converge(
    paths: EstatePaths, estate_file: str, request: ConvergeRequest, progress: Callable[[str], None]
) -> ConvergeResult:
    """Run a playbook. Raises YiyunError with the failed task and host, and where the log is."""
    paths.ansible.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A run that was killed leaves what it had rendered, secrets too.
    shutil.rmtree(paths.ansible / "tmp", ignore_errors=True)
    name = "-".join(request.tags) or Path(request.playbook).stem
    log = paths.ansible / f"{name}.log"
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl", dir=paths.ansible, encoding="utf-8") as events:
        environment = {**os.environ, **playbook_environment(paths, estate_file, request.strategy)}
        environment["YIYUN_EVENTS"] = events.name
        with log.open("wb") as stream:
            process = subprocess.Popen(
                playbook_argv(request),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGTERM),
            )
            result = _follow(process, events, progress)
    result.seconds = time.monotonic() - started
    if process.returncode != 0 or result.failures:
        raise YiyunError(_explain(result), hint=f"the whole log is {log}")
    return result


def _follow(process: subprocess.Popen[bytes], events: Any, progress: Callable[[str], None]) -> ConvergeResult:
    result = ConvergeResult()
    try:
        while True:
            ended = process.poll() is not None
            for line in events:
                _take(json.loads(line), result, progress)
            if ended:
                return result
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise


def _take(event: dict[str, Any], result: ConvergeResult, progress: Callable[[str], None]) -> None:
    kind = event["event"]
    if kind == "task":
        result.tasks += 1
        progress(event["name"])
    elif kind == "names":
        result.names.append(event)
    elif kind == "changed":
        result.changed += 1
        result.changes.add((event["host"], event["task"]))
    elif kind in {"failed", "unreachable"}:
        result.failures.append({key: str(event.get(key, "")) for key in ("host", "task", "message")})


def _explain(result: ConvergeResult) -> str:
    if not result.failures:
        return "ansible-playbook failed before its first task"
    first = result.failures[0]
    more = f" (and {len(result.failures) - 1} more)" if len(result.failures) > 1 else ""
    return f"{first['host']}: {first['task']}: {first['message']}{more}"
