"""Programs of the tests that run on a lab's host, with the Python and libraries of its backup agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra.reach import run_on

if TYPE_CHECKING:
    from infra.paths import EstatePaths

PYTHON = '"$(dirname "$(readlink -f /usr/local/bin/yiyun-backup)")/python" -'


def answer_of(paths: EstatePaths, host: str, program: str, call: str, seconds: float = 600) -> Any:
    """What `call` gives on that host after `program`, a text; all of it goes by standard input."""
    text = f"{program}\nimport json\nprint(json.dumps({call}))\n"
    done = run_on(paths, host, ["sh", "-c", PYTHON], stdin=text, seconds=seconds)
    assert done.returncode == 0, (host, done.stderr[-1000:])
    return json.loads(done.stdout)
