"""A hardened bastion that does not know a host behind it runs its role before the others; no other does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from infra.drift.compare import KINDS
from infra.drift.records import HostRecord, write_record
from infra.estate.loading import load_estate
from infra.inventory import jump_targets
from infra.paths import EstatePaths
from infra.steps import bastions
from infra.steps.model import Context

if TYPE_CHECKING:
    from pathlib import Path

WANTED = {"10.20.1.10:22", "10.20.1.60:22"}
LAB = load_estate("lab")


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ("port 22\npermitopen any\n", set()),
        ("port 22\npermitopen 10.20.1.10:22 10.20.1.60:22\n", set()),
        ("port 22\npermitopen 10.20.1.10:22\n", {"10.20.1.60:22"}),
        ("port 22\npermitopen none\n", WANTED),
        ("", set()),
    ],
    ids=["not hardened yet", "all", "a host joined since", "nothing", "no answer"],
)
def test_a_host_the_bastion_would_not_pass_on_to_is_named(settings: str, missing: set[str]) -> None:
    assert bastions.refused(WANTED, settings) == missing


def test_only_a_bastion_that_was_recorded_and_lacks_a_host_runs_its_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = EstatePaths("lab", tmp_path).ensure()
    for name in ("ops-1", "db-1"):  # edge-1 was never converged
        write_record(paths, name, HostRecord(state={kind: {} for kind in KINDS}))
    asked: list[str] = []
    limits: list[tuple[str, ...]] = []
    permitted = sorted(jump_targets(LAB, LAB.host("ops-1")))

    def run_on(_paths: EstatePaths, host: str, _argv: list[str]) -> SimpleNamespace:
        asked.append(host)
        return SimpleNamespace(stdout=f"permitopen {' '.join(permitted)}\n")

    def converge(_paths: EstatePaths, _source: str, request: object, _progress: object) -> SimpleNamespace:
        limits.append(request.limit)  # type: ignore[attr-defined]
        return SimpleNamespace(changed=3)

    monkeypatch.setattr(bastions, "run_on", run_on)
    monkeypatch.setattr(bastions, "wait_reachable", lambda *_: None)
    monkeypatch.setattr(bastions, "converge", converge)
    monkeypatch.setattr(bastions, "bundle_of", lambda _: SimpleNamespace(path=tmp_path))
    context = Context(LAB, "lab", paths, lambda _: None)
    assert (bastions.open_bastions(context), asked, limits) == (0, ["ops-1"], [])
    permitted.pop()
    assert (bastions.open_bastions(context), limits) == (3, [("ops-1",)])
