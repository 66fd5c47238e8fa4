"""The source `cloud`: resources beside the estate, and in a lab the machine beside its records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from infra.drift.sources import Found
from infra.engine.stack import Engine
from infra.trust.material import Material

if TYPE_CHECKING:
    from infra.drift.sources import Look


class CloudDrift:
    """The driver's view, without running the engine."""

    name = "cloud"

    def find(self, look: Look) -> Found:
        """Resources missing or changed by hand; in a lab also rules, buckets and machines."""
        look.progress("looking at the resources")
        key = Material(look.estate, look.paths).operator_key()
        seen = Engine(look.estate, look.paths, look.progress, authorized_key=key).read_drift()
        changes = [replace(c, remedy="yiyun up") for c in seen.changes]
        if look.estate.provider == "lab":
            from infra.drivers.lab.actual import lab_drift

            changes += lab_drift(look.paths)
        return Found(tuple(changes), seen.protected)
