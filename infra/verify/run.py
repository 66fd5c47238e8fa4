"""`yiyun verify`: the suites of every role, and the all-pairs probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.verify.probe import probe as run_probe
from infra.verify.results import VerifyResult
from infra.verify.suites_runner import run_suites

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from infra.estate.model import Estate
    from infra.paths import EstatePaths


def verify(
    estate: Estate,
    paths: EstatePaths,
    *,
    probe: bool = True,
    suites: bool = True,
    only: Collection[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> VerifyResult:
    """Run both, one after the other: the probe's listeners must not appear in the suites' facts.

    `only`: names of suites. `seed`: of the probe's random ports.
    Raises YiyunError when hosts cannot be reached.
    """
    suite_result = run_suites(estate, paths, only, progress) if suites else None
    probe_result = run_probe(estate, paths, seed=seed, progress=progress) if probe else None
    return VerifyResult(suite_result, probe_result)
