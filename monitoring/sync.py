"""Sync: (desired, actual) → plan → calls. `diff` plans everything, `apply` carries each stage out in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.services.monitoring import ZABBIX_FRONTEND
from infra.trust.material import Material
from monitoring import accounts, alerts, stages
from monitoring.access import opened, opened_or_made
from monitoring.derive import desired
from monitoring.plan import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.engine.changes import Change
    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from monitoring.api import Zabbix
    from monitoring.plan import Planned

    Stage = Callable[[Zabbix], list[Planned]]


def drift(
    estate: Estate, paths: EstatePaths, progress: Callable[[str], None] = lambda _: None
) -> list[Change]:
    """What `apply` would change, with source `monitoring`. Changes nothing.

    Raises YiyunError when Zabbix does not answer, RefusedLoginError before the first `apply`.
    """
    zabbix = opened(estate, paths, remember=True)
    found: list[Change] = []
    for name, stage in stages_of(estate, paths):
        progress(f"comparing {name}")
        found += [p.change for p in stage(zabbix)]
    return found


def apply(
    estate: Estate, paths: EstatePaths, progress: Callable[[str], None] = lambda _: None
) -> list[Change]:
    """Make Zabbix hold what is declared; returns what was changed. A second run changes nothing."""
    zabbix = opened_or_made(estate, paths)
    done: list[Change] = []
    for name, stage in stages_of(estate, paths):
        progress(f"comparing {name}")
        plan = stage(zabbix)
        if plan:
            progress(f"changing {len(plan)} of {name}")
            carry_out(zabbix, plan)
        done += [p.change for p in plan]
    return done


def stages_of(estate: Estate, paths: EstatePaths) -> list[tuple[str, Stage]]:
    """Stages in the order Zabbix wants: what is referred to comes first, what goes away goes last."""
    material = Material(estate, paths)
    wanted = desired(estate, material.host_secrets)
    password = material.passwords()[next(s.name for s in ZABBIX_FRONTEND.secrets)]
    return [
        ("settings", accounts.settings),
        ("host groups", lambda z: stages.groups(z, wanted)),
        ("templates", lambda z: alerts.templates(z, wanted)),
        ("proxies", lambda z: stages.proxies(z, wanted)),
        ("hosts", lambda z: stages.hosts(z, wanted)),
        ("estate-wide alerts", lambda z: alerts.estate_triggers(z, wanted)),
        ("alerts on hosts", lambda z: alerts.inherited(z, wanted)),
        ("what explains an alert", lambda z: alerts.explanations(z, wanted)),
        ("what is declared no more", lambda z: stages.strays(z, wanted)),
        ("on-call group", accounts.oncall_group),
        ("on-call account", lambda z: accounts.oncall_user(z, password)),
    ]


def carry_out(zabbix: Zabbix, plan: list[Planned]) -> None:
    """Make the calls of a plan."""
    for method, parameters in calls(plan):
        listed: Any = parameters
        zabbix.call(method, listed[0] if method == "settings.update" else listed)
