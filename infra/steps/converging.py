"""The steps of `up` that configure hosts: look first, then run only the parts that differ."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.bundle.build import build_bundle
from infra.bundle.model import LOCK_NAME, Bundle
from infra.converge import ConvergeRequest, converge, playbooks_folder
from infra.drift.manifest import manifests
from infra.drift.parts import PREFIX, Part, input_hashes, read_parts
from infra.drift.survey import Survey, keep_by_hand, recorded, started, survey
from infra.inventory import inventory
from infra.trust.material import Material

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.steps.model import Context

FOUND = "survey"
"""Where the findings stand among the results of the steps."""


def look(context: Context) -> int:
    """Find what differs on the hosts and put right what no role names. Returns how many things that were."""
    found = surveyed(context)
    return keep_by_hand(found, context.paths) + _put_right(found)


def _put_right(found: Survey) -> int:
    return sum(1 for item in found.mended if item["ok"])


def surveyed(context: Context) -> Survey:
    """The findings of this run: those of the step `survey`, or fresh ones when it was left out."""
    found = context.results.get(FOUND)
    if isinstance(found, Survey):
        return found
    inputs = _inputs_with(context.estate, context.paths, bundle_of(context))
    states = context.results.get("states")
    found = survey(
        context.estate,
        context.paths,
        inputs,
        context.progress,
        states=states if isinstance(states, dict) else None,
        keep=context.keep,
    )
    context.results[FOUND] = found
    return found


def inputs_now(
    estate: Estate, paths: EstatePaths, progress: Callable[[str], None]
) -> dict[str, dict[str, str]]:
    """Host → part → hash of everything it depends on: roles, variables, secrets, the bundle."""
    return _inputs_with(estate, paths, build_bundle(progress))


def _inputs_with(estate: Estate, paths: EstatePaths, bundle: Bundle) -> dict[str, dict[str, str]]:
    folder, identity = playbooks_folder(), hashlib.sha256((bundle.path / LOCK_NAME).read_bytes()).hexdigest()
    return input_hashes(read_parts(folder), inventory(estate, Material(estate, paths)), folder, identity)


def tier(*tags: str) -> Callable[[Context], int]:
    """The step that runs the parts of these tiers, each where something differs."""
    return _step(lambda part: part.tier in tags, Manner())


@dataclass(frozen=True)
class Manner:
    """How parts are run. `extra`: variables of this run alone. `apart`: hosts that are left as they are.

    `passing`: what is made counts for this run only, so that the next one makes it as the estate says.
    """

    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    apart: frozenset[str] = frozenset()
    passing: bool = False


def only(*names: str, manner: Manner | None = None) -> Callable[[Context], int]:
    """The step that runs these parts."""
    return _step(lambda part: part.name in names, manner or Manner())


def _step(wants: Callable[[Part], bool], manner: Manner) -> Callable[[Context], int]:
    def run(context: Context) -> int:
        looked_before = FOUND in context.results
        parts = tuple(p for p in read_parts(playbooks_folder()) if wants(p))
        wanted = {h: p for h, p in _wanted(context, parts).items() if h not in manner.apart}
        put_right = 0 if looked_before else _put_right(surveyed(context))
        return put_right + (_run(context, parts, wanted, manner) if wanted else 0)

    return run


def _wanted(context: Context, parts: tuple[Part, ...]) -> dict[str, frozenset[str]]:
    """Host → parts of this tier to run there; nothing for hosts that are as recorded."""
    found = surveyed(context)
    names = {p.name for p in parts}
    chosen = {
        host: names & set(found.inputs[host]) if context.full else names & found.parts_to_run(host)
        for host in found.inputs
    }
    return {host: frozenset(own) for host, own in chosen.items() if own}


def _run(
    context: Context,
    parts: tuple[Part, ...],
    wanted: Mapping[str, frozenset[str]],
    manner: Manner,
) -> int:
    """One run of the playbook over the hosts and parts that differ; Ansible takes the product of both."""
    found = surveyed(context)
    chosen = frozenset[str]().union(*wanted.values())
    ran = {host: chosen & frozenset(found.inputs[host]) for host in wanted}
    started(found, context.paths, ran)
    request = ConvergeRequest(
        tags=tuple(f"{PREFIX}{p.name}" for p in parts if p.name in chosen),
        limit=tuple(wanted),
        extra={**manner.extra, "yiyun_bundle": str(bundle_of(context).path)},
    )
    result = converge(context.paths, context.source, request, context.progress)
    if not manner.passing:
        recorded(found, context.estate, context.paths, ran, manifests(result.names))
    return result.changed


def bundle_of(context: Context) -> Bundle:
    """What the hosts are installed from: of the step `bundle`, or built now."""
    bundle = context.results.get("bundle")
    if not isinstance(bundle, Bundle):
        bundle = context.results["bundle"] = build_bundle(context.progress)
    return bundle
