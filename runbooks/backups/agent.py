"""The backup agent of a host, asked by SSH: one JSON object an answer, its errors as ours."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError, RefusedError, YiyunError
from infra.reach import run_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.paths import EstatePaths

KINDS: dict[int, type[YiyunError]] = {3: RefusedError, 4: BadInputError}
"""The agent's exit codes are the contract's."""
LONGEST = 6 * 3600.0
QUICK = 120.0


def ask(
    paths: EstatePaths,
    host: str,
    *words: str,
    stdin: str | bytes = "",
    seconds: float = QUICK,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """One verb of the agent on a host. Raises YiyunError with the agent's own message and next step.

    `stdin`: what goes along: a secret, a deposit. `tell`: is given the agent's lines of progress.

    A result that is not ok (problems were found) is an answer, not an error.
    """
    lines = None if tell is None else partial(_told, tell, host)
    done = run_on(paths, host, ["yiyun-backup", *words], stdin=stdin, seconds=seconds, tell=lines)
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        words_of = " ".join(done.stderr.split())[-300:]
        raise YiyunError(
            f"{host}: the backup agent said nothing that can be read: {words_of or done.returncode}",
            hint=f"yiyun ssh {host} -- yiyun-backup version",
            where=host,
        ) from None
    if error := told.get("error"):
        kind = KINDS.get(done.returncode, YiyunError)
        raise kind(f"{host}: {error['message']}", hint=str(error["hint"]), where=host)
    return told


def _told(tell: Callable[[str], None], host: str, line: str) -> None:
    tell(f"{host}: {line}")
