"""How the lab tests use yiyun: by its command line, as a user would, held to its JSON contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.trust.material import Material

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
ESTATE_FILE = Path(os.environ.get("YIYUN_TEST_ESTATE") or Path(__file__).with_name("citest.yaml"))


@dataclass(frozen=True)
class Answer:
    """Exit code and JSON object of one call, or of a `--json` call its text when it was not JSON."""

    code: int
    json: dict[str, Any]
    stderr: str


class Lab:
    """One lab estate, driven by the command line."""

    def __init__(self, source: Path = ESTATE_FILE) -> None:
        self.source = source
        self.estate = load_estate(str(source))
        self.paths = EstatePaths(self.estate.estate)

    @property
    def page(self) -> str:
        """Base URL of the platform through the load balancer."""
        return f"https://127.0.0.1:{self.estate.lab.published.web}"

    @property
    def operator(self) -> tuple[str, str]:
        """Name and password of the first operator account."""
        return "operator", str(Material(self.estate, self.paths).passwords()["app-operator"])

    def authority(self, folder: Path) -> Path:
        """The estate's CA certificate as a file."""
        path = folder / "ca.pem"
        path.write_text(Material(self.estate, self.paths).root().certificate, encoding="ascii")
        return path

    def yiyun(self, *words: str, seconds: float = 900) -> Answer:
        """Run a verb with `--json`; its output must fit the verb's schema."""
        argv = [sys.executable, "-m", "cli.main", *words, "--estate", str(self.source), "--json"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"{words}: not one JSON object: {done.stdout!r} {done.stderr!r}") from None
        check_schema(result)
        return Answer(done.returncode, result, done.stderr)

    def on(self, host: str, *command: str, seconds: float = 60) -> str:
        """Run a command on a host by `yiyun ssh`; it must succeed."""
        argv = [sys.executable, "-m", "cli.main", "ssh", "--estate", str(self.source), host, "--", *command]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{host}: {command}: {done.stdout} {done.stderr}"
        return done.stdout


def check_schema(result: dict[str, Any]) -> None:
    """Hold a result to the schema of its verb."""
    schema = json.loads((SCHEMAS / f"{result['command'].replace(' ', '-')}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(result)
