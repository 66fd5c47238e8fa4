"""Runs the roles' suites against an estate: pytest in a process of its own, results as data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import BadInputError, YiyunError
from infra.verify.results import Failure, SuiteResult
from infra.verify.suites_report import REPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

LIMIT_S = 180


def run_suites(
    estate: Estate,
    paths: EstatePaths,
    only: Collection[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> SuiteResult:
    """Run every suite, or those of `only` (names as `suite_names` gives them).

    Raises BadInputError for an unknown suite, YiyunError when pytest itself cannot run.
    """
    files = [str(suites_folder() / f"test_{name.replace('-', '_')}.py") for name in chosen(only)]
    progress(f"checking {len(estate.hosts)} hosts: {len(files)} suites")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="yv-") as folder,
        _shared_connections(paths, Path(folder)) as config,
    ):
        settings, report = Path(folder) / "settings.json", Path(folder) / "report.json"
        settings.write_text(
            json.dumps({"estate": estate.model_dump(mode="json"), "ssh_config": str(config)}),
            encoding="utf-8",
        )
        argv = [sys.executable, "-m", "pytest", "-q", "-c", str(suites_folder() / "pytest.ini")]
        argv += [
            "--rootdir",
            str(suites_folder()),
            "-p",
            "no:cacheprovider",
            "-p",
            "infra.verify.suites_report",
        ]
        environment = {**os.environ, "YIYUN_SUITES": str(settings), REPORT: str(report), "PYTEST_ADDOPTS": ""}
        environment["PYTHONPATH"] = os.pathsep.join([str(_import_root()), os.environ.get("PYTHONPATH", "")])
        said = _run([*argv, *files], environment)
        if not report.exists():
            raise YiyunError(f"the suites could not run: {said[-400:]}", hint="yiyun doctor")
        return _result(json.loads(report.read_text(encoding="utf-8")), time.monotonic() - began)


def suite_names() -> tuple[str, ...]:
    """Names of all suites."""
    found = (p.stem.removeprefix("test_") for p in suites_folder().glob("test_*.py"))
    return tuple(sorted(name.replace("_", "-") for name in found))


def chosen(only: Collection[str] | None) -> tuple[str, ...]:
    """The suites to run. Raises BadInputError for a name that is none."""
    names = suite_names()
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise BadInputError(f"no suite {', '.join(unknown)}", hint=f"one of {', '.join(names)}")
    return tuple(n for n in names if only is None or n in only)


def suites_folder() -> Path:
    """Where the suites are, in the checkout or in the installed wheel."""
    return Path(str(resources.files("infra.verify.suites")))


def _import_root() -> Path:
    return suites_folder().parents[2]


def _run(argv: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise YiyunError(f"the suites did not end within {LIMIT_S} s", hint="yiyun status") from None
    return (done.stdout + done.stderr).strip()


def _result(data: dict[str, object], seconds: float) -> SuiteResult:
    counts = {name: int(str(data[name])) for name in ("passed", "failed", "skipped")}
    listed = data["failures"]
    failures = tuple(sorted(Failure(**f) for f in listed)) if isinstance(listed, list) else ()
    listed = data.get("skips")
    skips = tuple(sorted(Failure(**f) for f in listed)) if isinstance(listed, list) else ()
    found = data.get("clauses")
    clauses = {str(k): dict(v) for k, v in found.items()} if isinstance(found, dict) else {}
    return SuiteResult(
        counts["passed"], counts["failed"], counts["skipped"], failures, round(seconds, 1), skips, clauses
    )


@contextmanager
def _shared_connections(paths: EstatePaths, folder: Path) -> Generator[Path]:
    """An SSH configuration that reuses one connection a host, and ends them all afterwards."""
    config = folder / "config"
    config.write_text(
        f'Include "{paths.ssh_config}"\nMatch all\n  ControlMaster auto\n'
        f"  ControlPath {folder}/%C\n  ControlPersist 60\n",
        encoding="utf-8",
    )
    try:
        yield config
    finally:
        for socket in [p for p in folder.iterdir() if p.is_socket()]:
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "any"], capture_output=True, check=False
            )
