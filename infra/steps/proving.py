"""The last step of `up`: the proof. Whole after any change, the live part of it when nothing differs."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.drift.survey import Survey
from infra.errors import YiyunError
from infra.status import collect
from infra.steps.converging import FOUND
from infra.trust.store import write_private
from infra.verify.run import verify
from infra.verify.suites_runner import suites_folder

if TYPE_CHECKING:
    from infra.status import AskMonitoring
    from infra.steps.model import Context

PROOF = "proof"
"""Where `{at, whole}` stands among the results: when everything was last checked, and whether just now."""
NAMED, NAMED_CHARACTERS = 10, 300
"""How many failures the error names, and how much of each: the next look may find them gone."""


def prove(zabbix: AskMonitoring, context: Context) -> int:
    """Every check of every role and the all-pairs probe; without any difference the services' health alone.

    The shorter proof rests on three things: every earlier step found nothing to change (so rules, files,
    packages, units and listeners are those that were checked), the whole proof was good with the same
    estate, roles and checks, and every service says now that it is well. Raises YiyunError.
    """
    mark = _fingerprint(context)
    if mark and not context.full and not context.changed and _last_good(context).get("of") == mark:
        health = collect(context.estate, context.paths, context.progress, zabbix)
        if health.ok:
            context.results[PROOF] = {"at": _last_good(context)["at"], "whole": False}
            return 0
    result = verify(context.estate, context.paths, progress=context.progress)
    context.results["verify"] = result
    if not result.ok:
        named = "; ".join(str(failure)[:NAMED_CHARACTERS] for failure in result.failures[:NAMED])
        raise YiyunError(f"{result.summary}: {named}", hint="yiyun verify shows every failure")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_private(context.paths.verified, json.dumps({"at": now, "of": mark}).encode())
    context.results[PROOF] = {"at": now, "whole": True}
    return 0


def _last_good(context: Context) -> dict[str, str]:
    path = context.paths.verified
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _fingerprint(context: Context) -> str:
    """Hash of what a proof depends on; empty when this run did not look at the hosts."""
    found = context.results.get(FOUND)
    if not isinstance(found, Survey) or found.left:
        return ""
    checks = sorted(p for p in suites_folder().parent.rglob("*.py"))
    text = [context.estate.model_dump_json(), json.dumps(found.inputs, sort_keys=True)]
    text += [hashlib.sha256(p.read_bytes()).hexdigest() for p in checks]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()
