"""pytest plugin: writes the outcome of the suites as JSON to the file that `YIYUN_SUITES_REPORT` names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPORT = "YIYUN_SUITES_REPORT"
CLAUSE = "clause"
"""Marker of a check: control point of the standard, as `8.1.4.1 身份鉴别`."""
STANDARD = "GB/T 22239-2019"
MESSAGE_LENGTH = 500
"""Of a failure's first line; what follows is pytest's own account of the comparison."""


class Outcome:
    """Counts, and each failure as {check, host, message}."""

    def __init__(self) -> None:
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: list[dict[str, str]] = []
        self.skips: list[dict[str, str]] = []
        self.clauses: dict[str, dict[str, int]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give each check the clause of the standard that it stands for, if it names one."""
        for item in items:
            marker = item.get_closest_marker(CLAUSE)
            if marker is not None:
                item.user_properties.append((CLAUSE, f"{STANDARD} {marker.args[0]}"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a check once: by its call, or by its set-up when that did not pass."""
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self.counts[report.outcome] += 1
            clause = str(dict(report.user_properties).get(CLAUSE, ""))
            if clause:
                counts = self.clauses.setdefault(clause, {"passed": 0, "failed": 0, "skipped": 0})
                counts[report.outcome] += 1
            if report.outcome == "failed":
                self.failures.append({**_title(report.nodeid, clause), "message": _message(report)})
            if report.outcome == "skipped":
                self.skips.append({**_title(report.nodeid, clause), "message": _reason(report)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be read is a failure too."""
        if report.outcome == "failed":
            self.counts["failed"] += 1
            self.failures.append({"check": report.nodeid, "host": "", "message": str(report.longrepr)[-500:]})

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        Path(os.environ[REPORT]).write_text(
            json.dumps(
                {
                    **self.counts,
                    "failures": self.failures,
                    "skips": self.skips,
                    "clauses": dict(sorted(self.clauses.items())),
                },
                ensure_ascii=False,
            ),
            encoding="utf-8",
        )


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the session."""
    config.pluginmanager.register(Outcome(), "yiyun-outcome")


def _title(nodeid: str, clause: str = "") -> dict[str, str]:
    """`…/test_mysql.py::test_group_is_whole[db-1]` → check `mysql: group is whole`, host `db-1`."""
    path, _, test = nodeid.rpartition("::")
    words, _, host = test.removesuffix("]").partition("[")
    suite = Path(path).stem.removeprefix("test_").replace("_", "-")
    title = f"{suite}: {words.removeprefix('test_').replace('_', ' ')}"
    return {"check": f"{title} ({clause})" if clause else title, "host": host}


def _reason(report: pytest.TestReport) -> str:
    long: Any = report.longrepr
    text = long[2] if isinstance(long, tuple) else str(long)
    return str(text).removeprefix("Skipped: ")


def _message(report: pytest.TestReport) -> str:
    long: Any = report.longrepr
    crash = getattr(long, "reprcrash", None)
    text = crash.message if crash is not None else str(long)
    lines = text.removeprefix("AssertionError: ").strip().splitlines()
    return lines[0][:MESSAGE_LENGTH] if lines else "it failed without a word"
